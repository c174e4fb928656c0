"""Copies of a MariaDB server's files by `mariadb-backup`, and their restore into a directory."""
