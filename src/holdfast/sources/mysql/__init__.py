"""MySQL and MariaDB: what is asked of a server, and each way to read and restore it."""
