"""Versions of the schema, for Alembic.

A version is the change of the tables, frozen. Functions, triggers and walls are not versioned: they stand in
db/functions, may be run again at any time, and are put in place after every migration.
"""
