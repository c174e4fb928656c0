"""MySQL and MariaDB by the stock tools: dumps through pipes, and copies of the server's files."""
