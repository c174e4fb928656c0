"""Store parts and blobs in a repository and read them back, each verified."""
