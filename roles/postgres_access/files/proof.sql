-- Run as the backup's own user: returns its role, and the rights that a backup needs. Needs the variable `memberships`.
SELECT json_build_object(
  'role', current_user,
  'superuser', current_setting('is_superuser') = 'on',
  'bypasses_row_security', (SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user),
  'any_large_object', current_setting('lo_compat_privileges') = 'on',
  'lacks', (
    SELECT COALESCE(json_agg(membership), '[]') FROM unnest(string_to_array(:'memberships', ',')) AS membership
    WHERE NOT pg_has_role(current_user, membership::name, 'USAGE')
  )
);
