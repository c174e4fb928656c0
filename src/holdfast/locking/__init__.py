"""One run of a job at a time: on this host by a lock, over all hosts by a lease."""
