"""Rows and definitions back into a MySQL or MariaDB database."""
