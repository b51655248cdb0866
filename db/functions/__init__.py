"""Functions that live in Postgres, as statements for the migrations."""
