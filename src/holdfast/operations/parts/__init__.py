"""Parts and long values on their way into a repository and back, each proven."""
