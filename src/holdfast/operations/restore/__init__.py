"""Bring backups back, at their own time or at a later one."""
