"""What heartbeats need: when the last one was told, a cause for too many errors, and the queue of work to claim."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_QUEUE = "ix_tasks_tenant_id_project_id_priority_id"
_CAUSE = "ck_agent_instances_paused_by"


def upgrade() -> None:
    """Add the column, the cause and the index."""
    op.add_column("agent_instances", sa.Column("heartbeat_event_at", postgresql.TIMESTAMP(timezone=True, precision=3)))
    op.drop_constraint(_CAUSE, "agent_instances")
    op.create_check_constraint(
        sa.schema.conv(_CAUSE),
        "agent_instances",
        "paused_by IN ('OPERATOR', 'EMERGENCY', 'BUDGET', 'STALE', 'LOOP', 'ERRORS')",
    )
    op.create_index(
        _QUEUE,
        "tasks",
        ["tenant_id", "project_id", "priority", "id"],
        postgresql_where=sa.text("status = 'INBOX'"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_index(_QUEUE, "tasks")
    op.drop_constraint(_CAUSE, "agent_instances")
    op.create_check_constraint(
        sa.schema.conv(_CAUSE), "agent_instances", "paused_by IN ('OPERATOR', 'EMERGENCY', 'BUDGET', 'STALE', 'LOOP')"
    )
    op.drop_column("agent_instances", "heartbeat_event_at")
