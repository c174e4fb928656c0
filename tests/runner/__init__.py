"""`scripts/test`: every suite as a list of steps, a line per step, one count at the end."""
