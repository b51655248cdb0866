"""The 55 tables, their associations, and what the gateway keeps for itself."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table as 0001_fleet.sql says."""
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Nothing is older than this version; dropping a journal is not a migration."""
    raise NotImplementedError("0001 is the first version: drop the database instead.")
