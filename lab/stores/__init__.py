"""Real stores on loopback, discarded after use, and a proxy that injects network faults."""
