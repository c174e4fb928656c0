"""The operating system below: processes, threads, files, events."""
