-- 2 GB of large objects that do not compress: 800 of 512 KiB, and 100 of 16 MiB.
DO $$
DECLARE
  piece bytea;
BEGIN
  SELECT string_agg(sha512(k::text::bytea), ''::bytea) INTO piece FROM generate_series(1, 8192) k;
  FOR n IN 1..:objects LOOP
    PERFORM lo_from_bytea(0, sha512(n::text::bytea) || piece);
    IF n % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
  FOR n IN 1..:big_objects LOOP
    PERFORM lo_from_bytea(100000 + n, sha512(n::text::bytea));
    FOR part IN 0..31 LOOP
      PERFORM lo_put(100000 + n, 64 + part * 524288, piece);
    END LOOP;
    COMMIT;
  END LOOP;
END $$;
VACUUM ANALYZE;
