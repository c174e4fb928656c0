-- What a database holds, as `name TAB value` lines; tables by a checksum over all rows in any order.
-- One statement per table, written by the server, which alone knows how to quote its names.
SELECT format(
  'SELECT %L || chr(9) || count(*) || '' '' || coalesce(md5(string_agg(h, '''' ORDER BY h)), ''-'')
   FROM (SELECT md5(t::text) AS h FROM %s AS t) AS hashes;', 'table ' || c.oid::regclass, c.oid::regclass)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY c.oid::regclass::text \gexec
SELECT 'sequence ' || quote_ident(schemaname) || '.' || quote_ident(sequencename) || chr(9) || coalesce(last_value, -1)
FROM pg_sequences;
SELECT 'large object ' || oid || chr(9) || md5(lo_get(oid)) FROM pg_largeobject_metadata;
