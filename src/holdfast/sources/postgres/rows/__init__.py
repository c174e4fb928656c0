"""The built-in engine for PostgreSQL: one exported snapshot, schema by pg_dump, rows by COPY."""
