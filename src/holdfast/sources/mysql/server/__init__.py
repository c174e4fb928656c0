"""What every engine asks of a MySQL or MariaDB server: login, definitions, grants."""
