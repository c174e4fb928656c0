"""Copy finished backups to another repository."""
