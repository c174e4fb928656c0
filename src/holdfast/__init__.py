"""Backups of PostgreSQL and MySQL/MariaDB that are whole or not there at all, and can be proven."""
