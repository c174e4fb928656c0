-- A very small shop with one of each thing that a backup could lose.
CREATE TYPE state AS ENUM ('new', 'sent');
CREATE SEQUENCE receipt START 1000 INCREMENT 5;
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL UNIQUE, joined timestamptz NOT NULL);
CREATE TABLE "order" (
  id integer PRIMARY KEY,
  customer_id integer NOT NULL REFERENCES customers,
  state state NOT NULL,
  amount numeric(10, 2) CHECK (amount >= 0),
  picture bytea
);
CREATE INDEX order_by_state ON "order" (state, amount);
INSERT INTO customers SELECT n, 'Ärzte & Söhne ' || n, '2026-01-01 00:00+00'::timestamptz + n * interval '1 hour'
FROM generate_series(1, 500) AS n;
INSERT INTO "order" SELECT n, 1 + n % 500, (ARRAY['new', 'sent'])[1 + n % 2]::state, n / 100.0,
  CASE WHEN n % 3 > 0 THEN decode(repeat(md5(n::text), 8), 'hex') END
FROM generate_series(1, 12000) AS n; -- Above a megabyte: what is smaller shares a part with others.
CREATE VIEW sent AS SELECT c.name, o.amount FROM "order" AS o JOIN customers AS c ON c.id = o.customer_id WHERE o.state = 'sent';
SELECT setval('receipt', 1995);
