-- Returns one document: the paths of the server's access files, and the statements that are missing to make the
-- backup's role as wanted. Changes nothing. Needs these psql variables:
--   role, memberships and databases (comma-separated), large_objects and restore (on or off), restore_role.
WITH wanted AS (
  SELECT :'role' AS name, string_to_array(:'memberships', ',')::name[] AS memberships,
         string_to_array(:'databases', ',')::name[] AS databases
),
present AS (SELECT auth.* FROM pg_authid AS auth, wanted WHERE auth.rolname = wanted.name),
held AS (
  SELECT parent.rolname AS name
  FROM pg_auth_members AS membership
  JOIN present ON present.oid = membership.member
  JOIN pg_roles AS parent ON parent.oid = membership.roleid
),
compatible AS (
  SELECT FROM pg_db_role_setting AS setting JOIN present ON present.oid = setting.setrole
  WHERE setting.setdatabase = 0 AND 'lo_compat_privileges=on' = ANY (setting.setconfig)
),
restorer AS (SELECT * FROM pg_authid WHERE rolname = :'restore_role'),
missing (position, statement) AS (
  SELECT 1, format('CREATE ROLE %I LOGIN BYPASSRLS', name) FROM wanted WHERE NOT EXISTS (SELECT FROM present)
  UNION ALL
  SELECT 2, format('ALTER ROLE %I LOGIN BYPASSRLS NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', rolname)
  FROM present
  WHERE NOT rolcanlogin OR NOT rolbypassrls OR rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication
  UNION ALL
  SELECT 3, format('ALTER ROLE %I PASSWORD NULL', rolname) FROM present WHERE rolpassword IS NOT NULL
  UNION ALL
  SELECT 4, format('GRANT %I TO %I', membership, name) FROM wanted, unnest(memberships) AS membership
  WHERE membership NOT IN (SELECT name FROM held)
  UNION ALL
  SELECT 5, format('REVOKE %I FROM %I', held.name, wanted.name) FROM held, wanted
  WHERE held.name <> ALL (memberships)
  UNION ALL
  SELECT 6, format('GRANT CONNECT ON DATABASE %I TO %I', datname, name)
  FROM wanted JOIN pg_database ON datname = ANY (databases)
  WHERE NOT COALESCE(has_database_privilege((SELECT oid FROM present), pg_database.oid, 'CONNECT'), false)
  UNION ALL
  SELECT 7, format('ALTER ROLE %I SET lo_compat_privileges = on', name) FROM wanted
  WHERE :'large_objects' = 'on' AND NOT EXISTS (SELECT FROM compatible)
  UNION ALL
  SELECT 8, format('ALTER ROLE %I RESET lo_compat_privileges', name) FROM wanted
  WHERE :'large_objects' = 'off' AND EXISTS (SELECT FROM compatible)
  UNION ALL
  SELECT 9, format('CREATE ROLE %I LOGIN SUPERUSER', :'restore_role')
  WHERE :'restore' = 'on' AND NOT EXISTS (SELECT FROM restorer)
  UNION ALL
  SELECT 10, format('ALTER ROLE %I LOGIN SUPERUSER PASSWORD NULL', rolname) FROM restorer
  WHERE :'restore' = 'on' AND (NOT rolcanlogin OR NOT rolsuper OR rolpassword IS NOT NULL)
  UNION ALL
  SELECT 11, format('ALTER ROLE %I NOLOGIN NOSUPERUSER', rolname) FROM restorer
  WHERE :'restore' = 'off' AND (rolcanlogin OR rolsuper)
)
SELECT json_build_object(
  'hba_file', current_setting('hba_file'),
  'ident_file', current_setting('ident_file'),
  'standby', pg_is_in_recovery(),
  'missing', COALESCE((SELECT json_agg(statement ORDER BY position, statement) FROM missing), '[]')
);
