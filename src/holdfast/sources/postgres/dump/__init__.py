"""The engine `tools` for PostgreSQL: one pg_dump, and the restore of its archive."""
