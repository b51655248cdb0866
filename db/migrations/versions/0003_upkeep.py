"""Alerts that are raised once, and what heartbeats need: when the last one was told, and a queue of work to claim."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the indexes."""
    op.add_column("alerts", sa.Column("loop_data", postgresql.JSONB()))
    op.add_column("alerts", sa.Column("occurrences", sa.Integer(), nullable=False, server_default=sa.text("1")))
    op.add_column("alerts", sa.Column("topic", sa.Text(collation="C")))
    op.create_index(
        "ix_alerts_tenant_id_topic",
        "alerts",
        ["tenant_id", "topic"],
        unique=True,
        postgresql_where=sa.text("status = 'OPEN'"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_alerts_tenant_id_topic", "alerts")
    for name in ("topic", "occurrences", "loop_data"):
        op.drop_column("alerts", name)
