"""Archive the WAL of a PostgreSQL server, list it, bring it back and prune it."""
