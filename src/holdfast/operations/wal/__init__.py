"""Archive the WAL of a PostgreSQL server, list it, fetch it for a recovery, and prune it."""
