"""Take backups of a job: each database whole or not at all."""
