"""What operations ask of the world: small ports whose docstrings are promises."""
