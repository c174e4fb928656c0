"""What backups are made of, as frozen values, and pure arithmetic on them, without any I/O."""
