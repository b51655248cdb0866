"""How a workflow's steps read and write the run's context, and when they are tried again (WF-3 to WF-5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

_PLACE: Final = re.compile(r"\{\{([^{}]*)\}\}")
_KEY_LINE: Final = re.compile(r"^[ \t]*([A-Z][A-Z0-9 _-]*):[ \t]*(.*)$", re.MULTILINE)
_SKIPPED: Final = "STATUS"
LONGEST_DELAY: Final = 30
"""Seconds that a step waits at most before it is tried again (WF-5)."""
KEY_LENGTH: Final = 8
KEY_LETTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
"""A run's key is eight of these (WF-2)."""


def missing_names(template: str, context: Mapping[str, Any]) -> list[str]:
    """WF-3. The names that a step's input asks for and the context does not have, each once, in their order."""
    names = (found.strip() for found in _PLACE.findall(template))
    return list(dict.fromkeys(name for name in names if name not in context))


def rendered(template: str, context: Mapping[str, Any]) -> str:
    """WF-3. The input with the context's values in place of their names, as they are; what stands in a value is text.

    Raises KeyError for a name that the context lacks.
    """
    return _PLACE.sub(lambda found: str(context[found[1].strip()]), template)


def holds(output: str, expects: str) -> bool:
    """WF-4. Whether the output has what the step expects; case and the width of white space do not count."""
    return _plain(expects) in _plain(output)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def learned(step_id: str, output: str) -> dict[str, Any]:
    """WF-4. What the context gains by a step: its output, and each line `KEY: value`; the last one of a key counts."""
    found = {key.strip(): value.strip() for key, value in _KEY_LINE.findall(output) if value.strip()}
    found.pop(_SKIPPED, None)
    return {**found, f"{step_id}Output": output}


def retry_delay(retries: int) -> timedelta:
    """WF-5. How long a step waits before its next try, by the retries so far: 1, 2, 4, 8, 16, then 30 seconds."""
    return timedelta(seconds=min(2 ** min(retries, LONGEST_DELAY), LONGEST_DELAY))


# --- Suggestions (WF-8) -----------------------------------------------------------------------------------------------

_SUGGESTIONS: Final = (
    (
        "feature-dev",
        0.85,
        "feature features implement implementation build enhancement enhance",
    ),
    (
        "bug-fix",
        0.9,
        "bug bugs bugfix fix fixes fixed error errors broken crash crashes crashed defect defects regression",
    ),
    (
        "security-audit",
        0.8,
        "security vulnerability vulnerabilities audit cve exploit exploits injection xss csrf",
    ),
)
STARTS_BY_ITSELF: Final = 0.8
"""WF-8. From this confidence on an application may start the workflow without asking."""
_WORD: Final = re.compile(r"[a-z]+")


def suggestion(text: str) -> tuple[str, float] | None:
    """WF-8. The key of the workflow that a text asks for, and how sure that is, 0 to 1; None where no word tells.

    Words of features are looked for first, then those of bugs, then those of security.
    """
    words = set(_WORD.findall(text.lower()))
    for key, confidence, telling in _SUGGESTIONS:
        if words & set(telling.split()):
            return key, confidence
    return None
