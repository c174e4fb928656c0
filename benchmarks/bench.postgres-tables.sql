-- 10,000 small tables with a key and an index each.
DO $$ BEGIN
  FOR n IN 1..:tables LOOP
    EXECUTE format('CREATE TABLE t_%s (id integer PRIMARY KEY, name text)', n);
    EXECUTE format('INSERT INTO t_%s SELECT k, md5(k::text) FROM generate_series(1, 20) k', n);
    IF n % 500 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;
ANALYZE;
