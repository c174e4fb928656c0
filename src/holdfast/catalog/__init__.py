"""What a repository contains: the manifest format, and how manifests are read and written."""
