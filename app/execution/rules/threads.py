"""What is said in a task's thread: texts made ready, and who is called (MSG-1 to MSG-3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from app.execution.rules.intake import sanitised

LONGEST_MESSAGE: Final = 10_000
"""Characters of a message (MSG-1)."""
LONGEST_QUOTE: Final = 200
"""Characters of a message that a notification shows (MSG-2)."""
MOST_MENTIONS: Final = 50
_CALL: Final = re.compile(r"(?<![\w@])@(\w+)")


def mentions_in(text: str, named: Iterable[str] = ()) -> list[str]:
    """MSG-2. The names that are called: those given, then each `@word` of the text; every name once.

    An address such as `ada@example.com` calls nobody.
    """
    given = [name.strip().removeprefix("@") for name in named]
    return list(dict.fromkeys(name for name in [*given, *_CALL.findall(text)] if name))[:MOST_MENTIONS]


def plan_text(plan: Mapping[str, Any]) -> str:
    """MSG-3. A work plan in words: its steps by number, then what it will cost and how long it will take."""
    lines = [f"{number}. {bullet}" for number, bullet in enumerate(plan.get("bullets") or (), 1)]
    if plan.get("estimatedCost") is not None:
        lines.append(f"Estimated cost: ${plan['estimatedCost']:g}")
    if plan.get("estimatedDuration"):
        lines.append(f"Estimated duration: {plan['estimatedDuration']}")
    return "\n".join(lines)


def progress_text(percent: int, text: str) -> str:
    """MSG-3. How far the work is, then what there is to say of it."""
    return f"Progress: {percent}%\n{text}" if text else f"Progress: {percent}%"


def message_fault(text: str) -> str | None:
    """Why a text, made ready, is no message."""
    if not text:
        return "There is nothing in it."
    return None if len(text) <= LONGEST_MESSAGE else f"It has {len(text)} characters, at most {LONGEST_MESSAGE}."


def ready(text: str | None) -> str:
    """A text as it is stored: without control characters, trimmed (MSG-1)."""
    return sanitised(text or "")


def quote(text: str) -> str:
    """The beginning of a text, for those who are told of it."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 1]}…"
