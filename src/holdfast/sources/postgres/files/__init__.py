"""A PostgreSQL cluster as its files: copied by several workers under one backup of the server."""
