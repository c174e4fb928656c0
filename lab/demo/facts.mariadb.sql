-- Every right that somebody has on one database, as lines in a fixed order.
SET @wanted = 'DATABASE';
SELECT concat_ws(' ', grantee, privilege_type, is_grantable)
FROM information_schema.schema_privileges WHERE table_schema = @wanted ORDER BY 1;
SELECT concat_ws(' ', grantee, table_name, privilege_type, is_grantable)
FROM information_schema.table_privileges WHERE table_schema = @wanted ORDER BY 1;
SELECT concat_ws(' ', grantee, table_name, column_name, privilege_type)
FROM information_schema.column_privileges WHERE table_schema = @wanted ORDER BY 1;
SELECT concat_ws(' ', user, host, routine_name, routine_type, proc_priv)
FROM mysql.procs_priv WHERE db = @wanted ORDER BY 1;
