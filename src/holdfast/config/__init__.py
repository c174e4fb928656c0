"""The configuration file as frozen, typed values."""
