"""Restore backups, to their own moment or by WAL to a later one."""
