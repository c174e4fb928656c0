"""Bytes in, bytes out: each stage either observes what passes or transforms it."""
