"""Rows and definitions back into a PostgreSQL database, in one sequence for all engines."""
