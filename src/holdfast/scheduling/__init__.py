"""Who may run now, and how much at once."""
