"""The machine below: processes, threads, files, events."""
