"""PostgreSQL: the queries to a server, and each way to read and restore a database."""
