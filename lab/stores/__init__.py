"""Real stores on loopback, thrown away afterwards, and a proxy with the faults of a network."""
