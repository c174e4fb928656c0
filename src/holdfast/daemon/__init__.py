"""`holdfast-sessiond`: a small daemon that holds database sessions for other processes."""
