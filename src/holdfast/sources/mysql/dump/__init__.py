"""Backups of MySQL and MariaDB by the stock dump programs, read through pipes."""
