"""Prove that backups can be read: by their lists, in full, or a little every night."""
