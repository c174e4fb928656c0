"""`scripts/test`: every suite as a list of steps, one line a step, one count at the end."""
