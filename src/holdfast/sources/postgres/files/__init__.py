"""Backs up and restores the files of a PostgreSQL cluster, with several workers at once."""
