"""Build objects from the settings; only this package knows every class."""
