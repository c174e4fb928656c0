"""Where backups are kept: one module per kind of store, all obeying `ports.Repository`."""
