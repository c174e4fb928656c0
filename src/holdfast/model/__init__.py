"""The nouns as frozen values and pure arithmetic on them, without any I/O."""
