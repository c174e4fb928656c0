"""MySQL and MariaDB: questions to a server, and each way to back it up and restore it."""
