"""Figures that views show beside rows: counts, costs and rates, computed by the database, one statement a field."""
