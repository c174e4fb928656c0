"""Ports in memory: one module per port, each passing the same contract as the real thing."""
