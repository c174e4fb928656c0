"""Backups of MySQL and MariaDB from one snapshot: the server formats the rows as INSERT text."""
