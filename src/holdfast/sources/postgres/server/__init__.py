"""What every engine needs of a PostgreSQL server: login, catalogs, locks, client programs."""
