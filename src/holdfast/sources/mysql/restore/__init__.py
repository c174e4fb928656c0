"""Restores definitions and rows into a MySQL or MariaDB database."""
