"""The database: every table, the only door to it, its migrations and the demo fleet."""
