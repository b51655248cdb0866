"""What may be sent, and what a meeting's notes say (TEL-2, MTG-2, MTG-4)."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.communication.rules.meetings import ActionItem, ImpossibleDate, agenda_of, calendar_entry, items_in
from app.communication.rules.telegraph import is_web_address, sending_fault
from db.enums import TelegraphChannel
from db.ids import new_id

INTERNAL, TELEGRAM = TelegraphChannel.INTERNAL, TelegraphChannel.TELEGRAM
SECRET = "ghp_" + "a" * 36


@pytest.mark.parametrize(
    ("text", "inside", "telegram"),
    [
        ("The release is out.", True, True),
        ("", False, False),
        ("x" * 10_000, True, True),
        ("x" * 10_001, False, False),
        ("the answer [STREAMING]", True, False),
        ("the answer is [partial] so far", True, False),
        ("Let me see...", True, False),
        ("Let me see…", True, False),
        ("Let me see whether it is so...", True, True),
        ("x" * 16 + "...", True, False),  # 19 characters
        ("x" * 17 + "...", True, True),  # 20
        (f"take {SECRET}", True, False),
        ("password: hunter2", True, False),
        ("the token budget and the task-force", True, True),
        ("ls -lR", True, False),
    ],
)
def test_tel_2_what_is_sent_where(text: str, inside: bool, telegram: bool) -> None:
    assert (sending_fault(INTERNAL, text) is None) is inside
    assert (sending_fault(TELEGRAM, text) is None) is telegram


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("https://files.example/a.png", True),
        ("http://files.example", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//files.example/a", False),
        ("https://ada:pw@files.example/a", False),
        ("https://", False),
        ("http://[::1", False),
        ("a.png", False),
    ],
)
def test_cap_1_what_a_browser_may_follow(address: str, good: bool) -> None:
    assert is_web_address(address) is good


# --- Meetings ---------------------------------------------------------------------------------------------------------


def test_mtg_2_the_agenda_is_numbered_and_has_four_usual_topics() -> None:
    assert agenda_of([" Costs ", "", "Two\nlines"]) == "1. Costs\n2. Two lines"
    assert agenda_of([" "]) == agenda_of([]) == "1. Opening and status\n2. Discussion\n3. Blockers\n4. Actions"


def test_mtg_2_the_calendar_entry() -> None:
    meeting_id = new_id()
    made = calendar_entry(
        meeting_id, "Plan", datetime(2026, 12, 1, 23, 45, tzinfo=UTC), 30, "Scout", ["Scout", "Quill"]
    )
    assert json.loads(made) == {
        "summary": "Plan",
        "dtstart": "2026-12-01T23:45:00.000Z",
        "dtend": "2026-12-02T00:15:00.000Z",
        "organizer": "Scout",
        "attendees": ["Scout", "Quill"],
        "uid": str(meeting_id),
    }


DAY = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("- Write it down", ActionItem("Write it down")),
        ("* Fix foo() (soon).", ActionItem("Fix foo() (soon).")),
        ("3. Write it down", ActionItem("Write it down")),
        ("  - [ ] Write it down", ActionItem("Write it down")),
        ("- [x] Write it down", ActionItem("Write it down", completed=True)),
        ("- Write it down. Owner: Scout. Due: 2026-12-01", ActionItem("Write it down.", "Scout", DAY)),
        ("- Write it down (Assigned: Scout One, By: 2026-12-01)", ActionItem("Write it down", "Scout One", DAY)),
        ("- Write it down — **Owner:** scout-1 — **Due:** 2026-12-01", ActionItem("Write it down", "scout-1", DAY)),
        ("- owner: Scout, write it down due: 2026-12-01.", ActionItem("write it down", "Scout", DAY)),
        ("- Stand by: nobody knows", ActionItem("Stand by: nobody knows")),
        ("- Write it down. Due: Friday", ActionItem("Write it down. Due: Friday")),
        ("- Write it down. Owner: Ada. Owner: Grace", ActionItem("Write it down.", "Ada")),
        ("- Owner: Ada. Due: 2026-12-01", None),
        ("Write it down", None),
        ("-", None),
    ],
)
def test_mtg_4_a_line_of_the_list(line: str, item: ActionItem | None) -> None:
    found = items_in(f"## Action items\n{line}\n")
    assert found == ([] if item is None else [item])


def test_mtg_4_only_lists_under_the_heading_count() -> None:
    notes = """# Meeting
- no item
## ACTION ITEMS:
- one

text between
- two
### Next
- no item either
# **Action items**
1) three
"""
    assert [one.description for one in items_in(notes)] == ["one", "two", "three"]
    assert items_in("# Action itemses\n- no") == items_in("- no") == items_in("") == []


@pytest.mark.parametrize("day", ["2026-02-30", "2026-13-01", "2026-00-10", "2025-02-29", "0000-01-01"])
def test_mtg_4_impossible_dates_are_refused(day: str) -> None:
    with pytest.raises(ImpossibleDate, match=day):
        items_in(f"# Action items\n- Write it down. Due: {day}")


@given(st.text(alphabet="#-*[]x. \n\tOwner:Due2026-By", max_size=200))
def test_mtg_4_any_notes_are_read(notes: str) -> None:
    """No text breaks the parser, and every item says what is to be done."""
    try:
        found = items_in(f"# Action items\n{notes}")
    except ImpossibleDate:
        return
    assert all(one.description.strip() for one in found)


@pytest.mark.parametrize("piece", ["by ", "owner ", "- ", " \t", "# ", "a. ", "Owner: ", "** "])
def test_mtg_4_long_notes_take_no_time(piece: str) -> None:
    """Linear in the notes' length: 100,000 characters on one line."""
    began = time.process_time()
    items_in("# Action items\n- " + piece * (100_000 // len(piece)))
    assert time.process_time() - began < 2
