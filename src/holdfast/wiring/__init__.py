"""Settings into objects: nothing else knows every class."""
