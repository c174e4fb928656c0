"""PostgreSQL by the stock tools alone: one pg_dump, and what brings its archive back."""
