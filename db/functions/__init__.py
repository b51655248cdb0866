"""Functions, triggers, walls and grants that live in Postgres, as statements for the migrations.

After the tables, in this order: walls.CREATE, logs.CREATE, auth.CREATE.
"""
