"""Full-text search over tasks, and the queue that agents claim from."""

from alembic import op
from sqlalchemy import text

from db.functions.search import TASK_WORDS

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("ix_tasks_words", "tasks", [text(TASK_WORDS)], postgresql_using="gin")
    op.create_index(
        "ix_tasks_queue",
        "tasks",
        ["tenant_id", "project_id", "priority", "id"],
        postgresql_where=text("status = 'INBOX'"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_tasks_queue", "tasks")
    op.drop_index("ix_tasks_words", "tasks")
