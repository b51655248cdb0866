"""Full-text search over messages and requests for approval."""

from alembic import op
from sqlalchemy import text

from db.functions.search import APPROVAL_WORDS, MESSAGE_WORDS

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_messages_words", "messages", MESSAGE_WORDS),
    ("ix_approval_records_words", "approval_records", APPROVAL_WORDS),
)


def upgrade() -> None:
    """Make the indexes."""
    for name, table, words in _INDEXES:
        op.create_index(name, table, [text(words)], postgresql_using="gin")


def downgrade() -> None:
    """Take them away."""
    for name, table, _ in _INDEXES:
        op.drop_index(name, table)
