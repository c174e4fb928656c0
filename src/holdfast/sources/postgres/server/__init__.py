"""What every engine asks of a PostgreSQL server: login, catalogs, locks, programs."""
