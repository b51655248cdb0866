"""Workflows that were deleted and stay as rows, since their runs name them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("workflows", sa.Column("deleted_at", postgresql.TIMESTAMP(timezone=True, precision=3)))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("workflows", "deleted_at")
