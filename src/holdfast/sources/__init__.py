"""Databases as streams of parts: one package per kind of server."""
