"""Bytes in, bytes out: each stage either observes the bytes or transforms them."""
