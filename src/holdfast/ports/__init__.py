"""What operations ask of the world: small protocols whose docstrings are promises."""
