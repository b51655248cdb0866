"""Functions, triggers, walls and grants that live in Postgres, as statements for the migrations.

After the tables, in this order: logs.CREATE, changes.CREATE, auth.CREATE, search.CREATE, walls.CREATE.
"""
