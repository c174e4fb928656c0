-- A small shop with one of everything: about 70 MB of tables when loaded, the same rows every time.
\set ON_ERROR_STOP on

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop_app') THEN CREATE ROLE shop_app; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop_report') THEN CREATE ROLE shop_report; END IF;
END $$;

CREATE SCHEMA stock;
CREATE TYPE order_state AS ENUM ('new', 'paid', 'sent', 'returned; "maybe"');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE TYPE address AS (street text, zip text, city text);
CREATE SEQUENCE invoice_number START 100000 INCREMENT 7;

CREATE TABLE customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  email email UNIQUE,
  home address,
  born date,
  joined timestamptz NOT NULL,
  credit numeric(12, 2) NOT NULL DEFAULT 0,
  tags text[] NOT NULL DEFAULT '{}',
  name_upper text GENERATED ALWAYS AS (upper(name)) STORED
);
CREATE TABLE stock.products (
  sku char(8) PRIMARY KEY,
  title text NOT NULL,
  price money NOT NULL,
  weight_kg real,
  attributes jsonb NOT NULL,
  available daterange
);
CREATE TABLE stock.pictures (
  sku char(8) NOT NULL REFERENCES stock.products,
  number smallint NOT NULL,
  picture bytea,
  PRIMARY KEY (sku, number)
);
CREATE TABLE orders (
  id bigserial,
  customer_id bigint NOT NULL REFERENCES customers,
  placed timestamptz NOT NULL,
  state order_state NOT NULL,
  note text,
  PRIMARY KEY (id, placed)
) PARTITION BY RANGE (placed);
CREATE TABLE orders_2025 PARTITION OF orders FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2026-01-01 00:00+00');
CREATE TABLE orders_2026 PARTITION OF orders FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2027-01-01 00:00+00');
CREATE TABLE order_items (
  order_id bigint NOT NULL,
  position smallint NOT NULL,
  sku char(8) NOT NULL REFERENCES stock.products,
  quantity integer NOT NULL CHECK (quantity > 0),
  price double precision NOT NULL,
  PRIMARY KEY (order_id, position)
);
-- Every common type, its edges included.
CREATE TABLE types (
  id integer PRIMARY KEY, a boolean, b smallint, c bigint, d real, e double precision, f numeric,
  g varchar(40), h char(5), i bytea, j date, k time, l timetz, m timestamp, n timestamptz, o interval,
  p uuid, q json, r jsonb, s inet, t cidr, u macaddr, v bit(8), w varbit, x point, y int4range,
  z integer[], aa text[][], bb tsvector, cc xml
);
INSERT INTO types VALUES
  (1, true, 32767, 9223372036854775807, 'NaN', 'Infinity', 'NaN', E'tab\tnewline\nbackslash\\', 'x', '\x00ff10', 'infinity',
   '24:00:00', '23:59:59.999999+15', '0001-01-01 BC', '-infinity', '1 year -2 days 03:04:05.678901', gen_random_uuid(),
   '{"a": [1, 2.50, null]}', '{"ü": "\u20ac"}', '::1', '10.0.0.0/8', '08:00:2b:01:02:03', B'10101010', B'1', '(1.5,-2)', '[1,10)',
   '{1,NULL,3}', '{{a,"b c"},{"d\"e","f,g"}}', 'a:1 b:2', '<a>&lt;</a>'),
  (2, false, -32768, -9223372036854775808, 1e-38, 5e-324, 12345678901234567890.123456789, '', '', '', '4713-01-01 BC',
   '00:00:00', '00:00:00-15', 'infinity', '2026-11-20 02:00:00+01', '-1 month', gen_random_uuid(), '[]', '{}', '192.168.0.1/24',
   '::/0', 'ff:ff:ff:ff:ff:ff', B'00000000', B'', '(0,0)', 'empty', '{}', '{}', '', NULL),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
-- Names that break naive tools.
CREATE TABLE "Order ""Details"" (v2.0); DROP" ("select" integer PRIMARY KEY, "größe in €" text, "new
line" text, "back\slash" text);
INSERT INTO "Order ""Details"" (v2.0); DROP" SELECT n, 'Größe ' || n, E'a\nb', '\' FROM generate_series(1, 500) n;
CREATE TABLE no_rows (id integer);
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;

INSERT INTO customers (name, email, home, born, joined, credit, tags)
SELECT 'Customer ' || n, 'c' || n || '@example.org', ROW('Street ' || n, lpad((n % 99999)::text, 5, '0'), 'Köln'::text)::address,
       date '1950-01-01' + n % 20000, timestamptz '2025-01-01 00:00+00' + n * interval '10 minutes', (n * 13 % 100000) / 100.0,
       ARRAY['t' || n % 7, 'größe']
FROM generate_series(1, 30000) n;
INSERT INTO stock.products
SELECT lpad(n::text, 8, '0'), 'Product ' || md5(n::text), (n % 1000) * 1.01::numeric::money, n / 7.0,
       jsonb_build_object('colour', md5(n::text), 'sizes', jsonb_build_array(n, n + 1)), daterange('2026-01-01', '2026-12-31')
FROM generate_series(1, 3000) n;
-- Incompressible pictures of about 16 KiB, one in ten empty, one in ten missing.
INSERT INTO stock.pictures
SELECT lpad(n::text, 8, '0'), 1,
       CASE n % 10 WHEN 0 THEN ''::bytea WHEN 1 THEN NULL
       ELSE (SELECT string_agg(decode(md5(n::text || '/' || k), 'hex'), ''::bytea ORDER BY k) FROM generate_series(1, 1024) k) END
FROM generate_series(1, 1500) n;
INSERT INTO orders (customer_id, placed, state, note)
SELECT 1 + n % 30000, timestamptz '2025-01-01 00:00+00' + n * interval '4 minutes',
       (enum_range(NULL::order_state))[1 + n % 4], CASE WHEN n % 3 = 0 THEN md5(n::text) END
FROM generate_series(1, 100000) n;
INSERT INTO order_items
SELECT 1 + n / 3, n % 3, lpad((1 + n % 3000)::text, 8, '0'), 1 + n % 5, n / 3.0 FROM generate_series(0, 299999) n;
SELECT count(nextval('invoice_number')) AS invoices FROM generate_series(1, 42);
SELECT lo_from_bytea(0, decode(repeat('00ff', 100000), 'hex')) > 0 AS large_object;

CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE INDEX products_by_attribute ON stock.products USING gin (attributes);
CREATE VIEW stock.best_sellers AS
  SELECT sku, sum(quantity) AS sold FROM order_items GROUP BY sku HAVING sum(quantity) > 100;
CREATE VIEW "View of best sellers" AS SELECT p.title, b.sold FROM stock.best_sellers b JOIN stock.products p USING (sku);
CREATE MATERIALIZED VIEW orders_per_day AS SELECT placed::date AS day, count(*) AS orders FROM orders GROUP BY 1;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, 'it''s new; really'); RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION stamp();
COMMENT ON TABLE customers IS 'people who buy; "quoted"';
GRANT USAGE ON SCHEMA stock TO shop_app, shop_report;
GRANT SELECT, INSERT, UPDATE ON customers, orders, order_items TO shop_app;
GRANT SELECT (id, name) ON customers TO shop_report;
GRANT SELECT ON ALL TABLES IN SCHEMA stock TO shop_report WITH GRANT OPTION;
ANALYZE;
