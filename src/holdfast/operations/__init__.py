"""The verbs: they speak to ports only."""
