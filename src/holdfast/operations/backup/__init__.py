"""Back up the databases of a job, each completely or not at all."""
