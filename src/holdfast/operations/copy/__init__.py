"""Bring finished backups to another repository."""
