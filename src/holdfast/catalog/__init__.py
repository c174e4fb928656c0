"""What is in a repository: the manifest format and the reading of it."""
