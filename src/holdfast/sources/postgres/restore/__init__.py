"""Rows and definitions back into a PostgreSQL database."""
