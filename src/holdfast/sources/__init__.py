"""Databases as streams of parts: one module per server kind and engine."""
