"""What may be sent, and where (TEL-2, RSK-7)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from app.execution.rules.threads import message_fault
from app.governance.policy.risk import outbound_faults
from db.enums import TelegraphChannel

MARKERS: Final = ("[STREAMING]", "[PARTIAL]")
"""What a text has in it while it is still being written."""
SHORTEST_OPEN_END: Final = 20
"""Characters from which a text may end in three dots; a shorter one is the beginning of an answer."""
_WHY: Final = {
    "BLOCK_SECRET_PATTERNS": "There is something in it that looks like a secret (RSK-4). Take it out.",
    "BLOCK_DIRECTORY_DUMP": "It lists a directory with all that is in it (RSK-7). Name the files that matter.",
}


def sending_fault(channel: TelegraphChannel, text: str) -> str | None:
    """TEL-2. Why a text, made ready, is not sent to a channel. Telegram gets whole answers without secrets."""
    if fault := message_fault(text):
        return fault
    if channel is TelegraphChannel.INTERNAL:
        return None
    if any(one in text.upper() for one in MARKERS):
        return f"It is not finished: Telegram gets no text with {' or '.join(MARKERS)} in it."
    if len(text) < SHORTEST_OPEN_END and text.endswith(("...", "…")):
        return "It breaks off: Telegram gets whole answers."
    violations, _flags = outbound_faults({"content": text, "channel": channel.value})
    return next((_WHY[one] for one in violations), None)


def is_web_address(address: str) -> bool:
    """Whether a text is an address that a browser may follow: of http or https, with a host and no user's name."""
    try:
        found = urlsplit(address)
        return found.scheme in ("http", "https") and bool(found.hostname) and not found.username
    except ValueError:
        return False
