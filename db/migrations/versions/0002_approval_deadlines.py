"""An index for queues of approvals that show what ends first."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NAME = "ix_approval_records_tenant_id_expires_at_id"


def upgrade() -> None:
    """Make the index."""
    op.create_index(_NAME, "approval_records", ["tenant_id", "expires_at", "id"])


def downgrade() -> None:
    """Take it away."""
    op.drop_index(_NAME, "approval_records")
