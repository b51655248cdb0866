"""Whether an identity is in order (IDN-1): a pure function of its documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from db.enums import IdentityComplianceStatus

SOUL_SECTIONS: Final = ("Core Truths", "Boundaries", "Vibe")
"""What a soul should speak of; a missing one is a warning."""
_ADDRESS: Final = re.compile(r"(?:https?://|data:)\S+", re.IGNORECASE)


class Documents(Protocol):
    """What is looked at."""

    name: str
    creature: str | None
    vibe: str | None
    emoji: str | None
    avatar_path: str | None
    soul_content: str | None


@dataclass(frozen=True)
class Verdict:
    """What came of it; errors first cost the status, warnings never do."""

    status: IdentityComplianceStatus
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(identity: Documents) -> Verdict:
    """VALID without errors; PARTIAL with some while there is a name or a soul; INVALID without both."""
    errors, warnings = tuple(_errors(identity)), tuple(_warnings(identity))
    if not errors:
        status = IdentityComplianceStatus.VALID
    elif _is_there(identity.name) or _is_there(identity.soul_content):
        status = IdentityComplianceStatus.PARTIAL
    else:
        status = IdentityComplianceStatus.INVALID
    return Verdict(status, errors, warnings)


def _errors(identity: Documents) -> Iterator[str]:
    for field in ("name", "creature", "vibe", "emoji"):
        if not _is_there(getattr(identity, field)):
            yield f"The {field} is missing."
    if not _is_there(identity.soul_content):
        yield "The SOUL document is missing."
    path = identity.avatar_path
    if path is not None and not _is_picture(path):
        yield "The avatar must be an http(s) address, a data URI, or a relative path without '..'."


def _warnings(identity: Documents) -> Iterator[str]:
    if identity.avatar_path is None:
        yield "There is no avatar."
    soul = (identity.soul_content or "").lower()
    for section in SOUL_SECTIONS:
        if soul and section.lower() not in soul:
            yield f"The soul has no section {section}."


def _is_there(text: str | None) -> bool:
    return bool(text and text.strip())


def _is_picture(path: str) -> bool:
    if _ADDRESS.fullmatch(path):
        return True
    is_relative = bool(path) and not path.startswith(("/", "\\")) and ":" not in path
    return is_relative and ".." not in re.split(r"[/\\]", path)
