-- Of every kind a little, about 580 MB: narrow rows, wide text, documents, and incompressible bytea.
CREATE TABLE narrow AS
  SELECT n AS id, n % 1000 AS customer, now() AS at, n / 7.0 AS amount FROM generate_series(1, 3000000) n;
CREATE TABLE texts AS
  SELECT n AS id, repeat(md5(n::text), 12) AS body, md5((n * 3)::text) AS token FROM generate_series(1, 300000) n;
CREATE TABLE documents AS
  SELECT n AS id, jsonb_build_object('id', n, 'name', md5(n::text), 'tags', ARRAY['a', 'b"', md5((n * 7)::text)]) AS document
  FROM generate_series(1, 500000) n;
CREATE TABLE pictures (id integer PRIMARY KEY, picture bytea);
ALTER TABLE pictures ALTER picture SET STORAGE EXTERNAL;
INSERT INTO pictures SELECT n, (SELECT string_agg(sha512((n || '/' || k)::bytea), ''::bytea) FROM generate_series(1, 2000) k)
  FROM generate_series(1, 1200) n;
DO $$ BEGIN
  FOR n IN 1..200 LOOP
    EXECUTE format('CREATE TABLE small_%s AS SELECT k AS id, md5(k::text) AS name FROM generate_series(1, 1000) k', n);
  END LOOP;
END $$;
VACUUM ANALYZE;
