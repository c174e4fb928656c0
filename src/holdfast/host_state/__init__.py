"""The state that this host keeps about its runs."""
