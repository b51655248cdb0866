"""Notes of changed rows, for those who watch them; the triggers that write them are in db/functions/changes.py."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        CREATE TABLE gateway.row_changes (
            tenant_id UUID NOT NULL,
            xact BIGINT NOT NULL,
            table_name TEXT COLLATE "C" NOT NULL,
            row_id UUID NOT NULL,
            gone BOOLEAN NOT NULL,
            noted_at TIMESTAMP(3) WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            CONSTRAINT pk_row_changes PRIMARY KEY (tenant_id, xact, table_name, row_id)
        )
        """
    )


def downgrade() -> None:
    """Every statement of the gateway writes to it by way of the triggers."""
    raise NotImplementedError("0004 is not undone: drop the database instead, or write a later version.")
