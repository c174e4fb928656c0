"""Throw-away MySQL and MariaDB servers: made for one drill, reached by one private socket."""
