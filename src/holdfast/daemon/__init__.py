"""`holdfast-sessiond`: a small daemon that holds database sessions on behalf of others."""
