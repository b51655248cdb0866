"""Alembic's entry: runs the versions on the connection that `db.migrate` hands over."""

from alembic import context
from sqlalchemy import Connection

from db import models
from db.base import Model

connection: Connection | None = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("Run migrations with `fleetgraph migrate`, which knows the address and the role.")

context.configure(
    connection=connection,
    target_metadata=Model.metadata,
    include_schemas=True,
    compare_type=True,
    version_table_schema=models.gateway.SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
