-- A narrow table, incompressible bytea, and many small tables: about 900 MB.
CREATE TABLE narrow AS
  SELECT n AS id, n % 1000 AS customer, md5(n::text) AS token, n / 7.0 AS amount FROM generate_series(1, 4000000) n;
CREATE TABLE pictures (id integer PRIMARY KEY, picture bytea);
ALTER TABLE pictures ALTER picture SET STORAGE EXTERNAL;
INSERT INTO pictures SELECT n, (SELECT string_agg(sha512((n || '/' || k)::bytea), ''::bytea) FROM generate_series(1, 4096) k)
  FROM generate_series(1, 800) n;
DO $$ BEGIN
  FOR n IN 1..300 LOOP
    EXECUTE format('CREATE TABLE small_%s AS SELECT k AS id, md5(k::text) AS name FROM generate_series(1, 200) k', n);
  END LOOP;
END $$;
VACUUM ANALYZE;
