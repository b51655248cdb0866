"""Webhooks: where they may point (WHK-1), what they may be told, and which events reach them (WHK-2)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

EVERYTHING: Final = "*"
EVENTS: Final = (
    "task.created",
    "task.transitioned",
    "task.assigned",
    "approval.requested",
    "approval.decided",
    "approval.escalated",
    "run.completed",
    "run.failed",
    "deployment.activated",
    "deployment.rolled_back",
    "alert.opened",
    "emergency.mode_changed",
    "evaluation.completed",
    "version.transitioned",
)
"""What a webhook can be told (WHK-1); `*` stands for all of it."""
SHORTEST_SECRET: Final = 16
LONGEST_URL: Final = 2_000
_SPELLED_NUMBER: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)\.?$", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[!-~]+")
_CARRIES_IPV4: Final = ipaddress.IPv6Network("64:ff9b::/96")


def url_fault(url: str) -> str | None:
    """WHK-1. What is wrong with an address as it is written; what its name resolves to is looked at apart."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # the port is read here, so that a wrong one is seen
    except ValueError:
        return "This is no address."
    if not _PLAIN.fullmatch(url) or len(url) > LONGEST_URL:
        return f"An address has at most {LONGEST_URL} characters, all of them ASCII and none of them blank."
    if parts.scheme.lower() != "https" or not host:
        return "The address begins with https:// and has a host."
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        return "The address has no user name and no password in it; deliveries are signed with the secret instead."
    if parts.fragment:
        return "What stands behind # is never sent; leave it out."
    if (literal := address_in(host)) is not None:
        return None if is_public(literal) else "The address is a private one, or of this machine or network."
    if _SPELLED_NUMBER.search(host.rsplit(".", 1)[-1] if not host.endswith(".") else host.rsplit(".", 2)[-2]):
        return "Write an address of numbers in the usual way, such as 203.0.113.7."
    return None


def host_of(url: str) -> str:
    """The name or address of an address that has no fault."""
    return urlsplit(url).hostname or ""


def address_in(host: str) -> str | None:
    """The host, where it is an address of numbers; None where it is a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def is_public(address: str) -> bool:
    """Whether an address is reached over the public internet: not this machine's, not a private network's, not a
    cloud's own, nor one of these in the clothes of another."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return False
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo and found.teredo[1])
        if found in _CARRIES_IPV4:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def events_fault(events: Sequence[str]) -> str | None:
    """WHK-1. What is wrong with a list of events."""
    if not events:
        return f"A webhook names at least one event, or {EVERYTHING!r} for all."
    unknown = next((one for one in events if one != EVERYTHING and one not in EVENTS), None)
    if unknown is None:
        return None
    return f"{unknown[:100]!r} is no event. There are {', '.join(EVENTS)}, and {EVERYTHING!r} for all."


@dataclass(frozen=True)
class Happening:
    """Something that webhooks may be told."""

    event: str
    project_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Of the payload: `taskType`, `instanceId` and `status`, as far as the event has them."""


_FILTERS: Final = (("taskTypes", "taskType"), ("instanceIds", "instanceId"), ("statuses", "status"))


def reaches(
    happening: Happening,
    *,
    active: bool,
    project_id: str | None,
    events: Iterable[str],
    filters: Mapping[str, Any] | None,
) -> bool:
    """WHK-2. Whether an event reaches a webhook of its tenant: active, of the event's project or of the whole tenant,
    and named; each filter binds events that have its attribute, and all must hold."""
    if not active or (project_id is not None and project_id != happening.project_id):
        return False
    named = set(events)
    if EVERYTHING not in named and happening.event not in named:
        return False
    for name, attribute in _FILTERS:
        wanted, value = (filters or {}).get(name), happening.attributes.get(attribute)
        if wanted is not None and value is not None and value not in wanted:
            return False
    return True
