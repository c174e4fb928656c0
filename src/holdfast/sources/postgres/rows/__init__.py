"""PostgreSQL by its own means: one exported snapshot, schema by pg_dump, data by COPY."""
