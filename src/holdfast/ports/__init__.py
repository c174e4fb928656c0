"""The ports that operations depend on: small interfaces whose docstrings are promises."""
