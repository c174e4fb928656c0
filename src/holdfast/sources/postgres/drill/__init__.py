"""Throw-away PostgreSQL servers: made for one drill, reached by one private socket."""
