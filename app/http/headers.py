"""Headers of requests, read once, and those that every answer has, whoever wrote it (traps 18 and 22)."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from starlette.types import Scope

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # Answers are not cached unless the one who wrote them says otherwise, as the files of GraphiQL do.
    (b"cache-control", b"no-store"),
)


RequestHeaders: TypeAlias = Mapping[bytes, str]
"""A request's headers by name, in lower case as ASGI has them; of a name that is sent twice the first counts."""


def request_headers(scope: Scope) -> RequestHeaders:
    """Those of an ASGI scope."""
    return {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}


def safe(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers with those that all have: no sniffing, no framing, no referrer, no name of the server, and no
    caching."""
    found = [(name.lower(), value) for name, value in headers]
    names = {name for name, _ in found}
    if b"server" in names:
        found = [header for header in found if header[0] != b"server"]
    return found + [header for header in _ALWAYS if header[0] not in names]


@lru_cache(maxsize=256)
def safe_lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The headers with those that all answers have, as they are sent. Raises ValueError where one of them would be more
    than its line. Nearly all answers have the same few."""
    found = safe(headers)
    made = b"".join([b"%b: %b\r\n" % header for header in found])
    if made.count(b"\n") != len(found) or made.count(b"\r") != len(found):
        raise ValueError("A header of an answer has a line break in it.")
    return made
