-- Everything about the shop that a restore could get wrong, told by the server.
SELECT 'rows', count(*), md5(string_agg(c::text, E'\n' ORDER BY id)) FROM customers AS c;
SELECT 'rows', count(*), md5(string_agg(o::text, E'\n' ORDER BY id)) FROM "order" AS o;
SELECT 'sequence', last_value, is_called FROM receipt;
SELECT 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND relkind IN ('r', 'v') ORDER BY attrelid::regclass::text, attnum;
SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 2;
SELECT 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY conrelid::regclass::text, conname;
SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 2;
