"""The number of workers of a run, and how fast they may work."""
