"""Which media type to answer in, and with which status: GraphQL over HTTP, sections 4 and 6 (trap 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from app.graph.errors import ErrorCode
from app.graph.execution import Outcome


class Media(StrEnum):
    """The media types that `/graphql` answers in."""

    GRAPHQL = "application/graphql-response+json"
    """Status codes tell how the operation went."""
    JSON = "application/json"
    """For older clients: 200 for every well-formed request."""
    HTML = "text/html"
    """GraphiQL, for a browser."""
    EVENTS = "text/event-stream"
    """Server-sent events: graphql-sse, distinct connections."""
    MULTIPART = "multipart/mixed"
    """Multipart subscriptions, as Apollo has them: with the parameter ``subscriptionSpec=1.0``."""


RESPONSES: Final = (Media.JSON, Media.GRAPHQL)
"""What operations are answered in; the first where the client takes anything."""

STATUS: Final = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.BAD_USER_INPUT: 400,
    ErrorCode.GRAPHQL_PARSE_FAILED: 400,
    ErrorCode.GRAPHQL_VALIDATION_FAILED: 400,
    ErrorCode.OPERATION_TOO_COMPLEX: 400,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.TIMEOUT: 504,
    ErrorCode.PERSISTED_QUERY_NOT_FOUND: 400,
    ErrorCode.CURSOR_EXPIRED: 400,
    ErrorCode.SLOW_CONSUMER: 429,
    ErrorCode.STREAM_INTERRUPTED: 503,
    ErrorCode.INTERNAL: 500,
}
"""The status of a response that has no data, by the code of its first error."""

_ABOUT_THE_OPERATION: Final = (400, 403)


@dataclass(frozen=True, slots=True)
class _Range:
    """One media range of an Accept header."""

    type: str
    subtype: str
    quality: float
    position: int
    parameters: frozenset[tuple[str, str]] = frozenset()

    def fit(self, media: Media) -> int:
        """How closely it names the media type: 3 by name, 2 as ``type/*``, 1 as ``*/*``, 0 not at all."""
        type_, _, subtype = media.value.partition("/")
        if (self.type, self.subtype) == (type_, subtype):
            return 3
        if self.subtype == "*" and self.type in (type_, "*"):
            return 2 if self.type == type_ else 1
        return 0


def negotiate(accept: str | None, offers: tuple[Media, ...]) -> Media | None:
    """The offer that the client likes best, or None if it takes none of them.

    By quality, then by the client's own order; where only a wildcard names an offer, by the order of the offers.
    """
    if accept is None:
        return offers[0]
    # Clients send the same few headers all day.
    return _negotiate(accept, offers) if len(accept) <= 512 else _negotiate.__wrapped__(accept, offers)


def negotiate_stream(accept: str | None) -> tuple[Media | None, bool]:
    """The stream that the client likes best, of those that it names, and whether it likes it better than JSON.

    A client that also mentions streams, behind JSON, wants JSON for what needs no stream (trap 12). A wildcard asks for
    none, nor does ``multipart/mixed`` without the protocol of subscriptions: that is the one of ``@defer``.
    """
    if accept is None:
        return None, False
    return _negotiate_stream(accept) if len(accept) <= 512 else _negotiate_stream.__wrapped__(accept)


@lru_cache(maxsize=256)
def _negotiate_stream(accept: str) -> tuple[Media | None, bool]:
    best: tuple[float, int, Media] | None = None
    json: tuple[float, int] | None = None
    for one in _ranges(accept):
        rank = -one.quality, one.position
        if one.quality <= 0:
            continue
        if one.fit(Media.EVENTS) == 3 or (
            one.fit(Media.MULTIPART) == 3 and ("subscriptionspec", "1.0") in one.parameters
        ):
            best = min(best or (*rank, Media(f"{one.type}/{one.subtype}")), (*rank, Media(f"{one.type}/{one.subtype}")))
        elif any(one.fit(media) for media in RESPONSES):
            json = min(json or rank, rank)
    if best is None:
        return None, False
    return best[2], json is None or best[:2] < json


@lru_cache(maxsize=256)
def _negotiate(accept: str, offers: tuple[Media, ...]) -> Media | None:
    if not accept.strip():
        return offers[0]
    ranges = list(_ranges(accept))
    best: tuple[float, float, int] | None = None
    chosen: Media | None = None
    for preference, media in enumerate(offers):
        fits = [(range_.fit(media), range_) for range_ in ranges if range_.fit(media)]
        if not fits:
            continue
        fit, range_ = max(fits, key=lambda pair: pair[0])
        if range_.quality <= 0:
            continue
        rank = (-range_.quality, range_.position if fit == 3 else math.inf, preference)
        if best is None or rank < best:
            best, chosen = rank, media
    return chosen


def _ranges(accept: str) -> Iterator[_Range]:
    for position, item in enumerate(accept.split(",")[:50]):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        type_, slash, subtype = media_range.partition("/")
        if not slash or not type_ or not subtype:
            continue
        quality = 1.0
        wanted = True
        others = set()
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                quality = _quality(value.strip())
            elif name.strip() == "charset":
                wanted = value.strip().strip('"') in ("utf-8", "utf8")
            else:
                others.add((name.strip(), value.strip().strip('"')))
        if wanted:
            yield _Range(type_, subtype, quality, position, frozenset(others))


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return min(quality, 1.0) if quality > 0 else 0.0  # NaN is not above 0 either


def status_of(outcome: Outcome, media: Media) -> int:
    """The status of a response to a well-formed request.

    With data, partial or null, 200. Without, what the first error says; but in `Media.JSON` 200 also for what is wrong
    with the operation, since clients of that type take anything else for a fault of the transport.
    """
    if outcome.executed:
        return 200
    status = STATUS[ErrorCode(outcome.code)]
    return 200 if media is Media.JSON and status in _ABOUT_THE_OPERATION else status


def retry_after(outcome: Outcome) -> int | None:
    """Whole seconds for a ``Retry-After`` header, where the operation was refused for its rate."""
    if outcome.executed or outcome.code != ErrorCode.RATE_LIMITED:
        return None
    return math.ceil(float(outcome.errors[0]["extensions"].get("retryAfter", 1)))
