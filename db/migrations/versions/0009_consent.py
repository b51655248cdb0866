"""The function that finds an operator says whether there is a consent (GDPR-4).

No table changes: functions are put in place anew after each migration. The version keeps a gateway that asks for the
answer from a database that does not give it.
"""

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing of the tables."""


def downgrade() -> None:
    """Nothing of the tables."""
