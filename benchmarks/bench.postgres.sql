-- About 2.3 GB: ten million narrow rows, 700 MB of incompressible bytea, and 500 small tables.
CREATE TABLE narrow AS
  SELECT n AS id, n % 1000 AS customer, md5(n::text) AS token, n / 7.0 AS amount FROM generate_series(1, :rows) n;
ALTER TABLE narrow ADD PRIMARY KEY (id);
CREATE INDEX ON narrow (customer);
CREATE TABLE pictures (id integer PRIMARY KEY, picture bytea);
ALTER TABLE pictures ALTER picture SET STORAGE EXTERNAL;
CREATE EXTENSION pgcrypto;
-- Without `n - n` the subquery would be asked once, and all pictures be the same.
INSERT INTO pictures SELECT n, (SELECT string_agg(gen_random_bytes(1024), ''::bytea) FROM generate_series(1, 256 + n - n) k)
  FROM generate_series(1, :pictures) n;
DROP EXTENSION pgcrypto;
DO $$ BEGIN
  FOR n IN 1..:small_tables LOOP
    EXECUTE format('CREATE TABLE small_%s AS SELECT k AS id, md5(k::text) AS name FROM generate_series(1, 1000) k', n);
    EXECUTE format('ALTER TABLE small_%s ADD PRIMARY KEY (id)', n);
  END LOOP;
END $$;
VACUUM ANALYZE;
