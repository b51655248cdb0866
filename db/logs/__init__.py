"""The two logs that only grow: change records, chained by hash, and op events.

A tenant has one counter row for both. A writer takes its numbers with an UPDATE of that row in the same statement that
inserts, which is its last before the commit: the row's lock makes commit order number order, so whoever reads "all
after the last I saw" misses nothing. Where a command writes both logs it appends the changes first (decision 2). Both
functions want READ COMMITTED, and leave committing to the caller.
"""

from db.logs.changes import (
    FIRST_OF_UPDATE,
    AppendedChange,
    ChainFault,
    ChainHead,
    append_change_records,
    append_change_records_by,
    append_with_update,
    append_with_updates,
    known_columns,
    verify_chain,
)
from db.logs.content import CONTENT_FIELDS, ChangeDraft, content_hash
from db.logs.events import (
    CHUNK,
    EVENT_COLUMNS,
    AppendedColumns,
    AppendedEvents,
    EventColumns,
    EventDraft,
    append_event_columns,
    append_op_events,
    append_op_events_by,
    fresh_id,
    in_chunks,
    is_one_statement,
    resent_id,
)

__all__ = [
    "CHUNK",
    "CONTENT_FIELDS",
    "EVENT_COLUMNS",
    "FIRST_OF_UPDATE",
    "AppendedChange",
    "AppendedColumns",
    "AppendedEvents",
    "ChainFault",
    "ChainHead",
    "ChangeDraft",
    "EventColumns",
    "EventDraft",
    "append_change_records",
    "append_change_records_by",
    "append_event_columns",
    "append_op_events",
    "append_op_events_by",
    "append_with_update",
    "append_with_updates",
    "content_hash",
    "fresh_id",
    "in_chunks",
    "is_one_statement",
    "known_columns",
    "resent_id",
    "verify_chain",
]
