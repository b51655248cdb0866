"""What is planned for a meeting, and what its notes say (MTG-2, MTG-4): pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from app.execution.rules.intake import sanitised

USUAL_TOPICS: Final = ("Opening and status", "Discussion", "Blockers", "Actions")
"""MTG-2. The agenda of a meeting that has none."""
LONGEST_MEETING: Final = 24 * 60
"""Minutes."""
MOST_ITEMS: Final = 200
"""Action items of one meeting."""


def agenda_of(topics: Iterable[str]) -> str:
    """MTG-2. Numbered topics, a line each; the four usual ones where none is named."""
    named = [" ".join(sanitised(topic).split()) for topic in topics]
    return "\n".join(f"{number}. {topic}" for number, topic in enumerate(filter(None, named), 1)) or agenda_of(
        USUAL_TOPICS
    )


def calendar_entry(
    meeting_id: UUID, title: str, begins: datetime, minutes: int, host: str | None, attendees: Sequence[str]
) -> str:
    """MTG-2. What a calendar needs to know, as JSON text."""
    return json.dumps(
        {
            "summary": title,
            "dtstart": _time(begins),
            "dtend": _time(begins + timedelta(minutes=minutes)),
            "organizer": host,
            "attendees": list(attendees),
            "uid": str(meeting_id),
        },
        ensure_ascii=False,
    )


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- Notes (MTG-4) ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ActionItem:
    """Something that is to be done, as the notes have it."""

    description: str
    owner: str | None = None
    due_at: datetime | None = None
    completed: bool = False


class ImpossibleDate(ValueError):
    """The notes name a day that no calendar has; its text is the line."""


_HEADING: Final = re.compile(r"#{1,6}[ \t]+(\S.*)")
_ITEM: Final = re.compile(r"(?:[-*+•]|\d{1,3}[.)])[ \t]+(?:\[(?P<mark>[ xX])\][ \t]+)?(?P<text>\S.*)")
_FIELD: Final = re.compile(r"(?<!\w)(owner|assigned|due|by)[*_]{0,2}\s*:", re.IGNORECASE)
_DAY: Final = re.compile(r"[*_]{0,2}\s*(\d{4})-(\d{2})-(\d{2})(?!\d)")
_END_OF_NAME: Final = re.compile(r"[.,;|()](?=\s|$)|\s[-\u2013\u2014](?=\s)")
_DASHES: Final = "-\u2013\u2014"
_AROUND: Final = f" \t.,;|()*_{_DASHES}"
"""What stands around a name."""
_BEFORE: Final = f" \t.,;|)*_{_DASHES}"
_BEHIND: Final = f" \t,;|(*_{_DASHES}"
"""What stands before and behind a piece of a description where a field was cut out."""
_TITLE: Final = "action items"


def items_in(notes: str) -> list[ActionItem]:
    """MTG-4. The lists under headings «Action items», an item a line. `Owner: X` or `Assigned: X` says who does it,
    `Due: YYYY-MM-DD` or `By: …` until when, which is the day's beginning in UTC; `[x]` that it is done.

    Raises ImpossibleDate.
    """
    return [item for line in _listed(notes) if (item := _item(line)) is not None]


def _listed(notes: str) -> Iterator[re.Match[str]]:
    """The list lines that stand under a heading «Action items», up to the next heading."""
    is_inside = False
    for line in map(str.strip, notes.splitlines()):
        if heading := _HEADING.fullmatch(line):
            is_inside = heading[1].strip(" \t#:*_").casefold() == _TITLE
        elif is_inside and (found := _ITEM.fullmatch(line)):
            yield found


def _item(line: re.Match[str]) -> ActionItem | None:
    """The item of a list line; None where nothing is left to do in it."""
    first, *rest = _FIELD.split(line["text"])
    is_done = line["mark"] in ("x", "X")
    if not rest:
        return ActionItem(sanitised(first), completed=is_done)
    texts, owner, due_at = [first], None, None
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        if name.casefold() in ("owner", "assigned"):
            end = _END_OF_NAME.search(value)
            named = (value if end is None else value[: end.start()]).strip(_AROUND)
            owner = owner or named or None
            texts.append("" if end is None else value[end.end() :])
        elif day := _DAY.match(value):
            due_at = due_at or _midnight(day, line[0])
            texts.append(value[day.end() :])
        else:
            texts.append(f"{name}:{value}")  # "stand by: …" is no date
    words = [kept for text in texts if (kept := text.lstrip(_BEFORE).rstrip(_BEHIND))]
    description = sanitised(" ".join(words))
    return ActionItem(description, owner, due_at, is_done) if description else None


def _midnight(day: re.Match[str], line: str) -> datetime:
    try:
        return datetime(int(day[1]), int(day[2]), int(day[3]), tzinfo=UTC)
    except ValueError:
        raise ImpossibleDate(line) from None
