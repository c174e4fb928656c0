"""Drills: restore backups into throw-away servers, prove the result, and keep a record of it."""
