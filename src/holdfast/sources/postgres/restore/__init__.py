"""Restores rows and definitions into a PostgreSQL database, in one sequence for all engines."""
