"""MySQL and MariaDB by one snapshot: the server itself formats the rows as INSERT text."""
