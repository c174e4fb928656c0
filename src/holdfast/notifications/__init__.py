"""Who can be told about runs: one module per kind of receiver, all obeying `ports.notify`."""
