"""Answers in fewer bytes, for clients that say they take them so (RFC 9110, 12.5.3)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final

import brotli


class Encoding(StrEnum):
    """The content encodings of answers, the better first."""

    BROTLI = "br"
    GZIP = "gzip"


ALL: Final = tuple(Encoding)
_IN_A_THREAD: Final = 65_536
_ALIASES: Final = {"x-gzip": "gzip"}


def preferred(accepted: str | None, offers: tuple[Encoding, ...] = ALL) -> Encoding | None:
    """The offer that an Accept-Encoding header likes best, the first of those that it likes as much; None where it
    takes none of them, or likes plain bytes better."""
    # Clients send the same few headers all day.
    return None if accepted is None else _preferred(accepted[:200], offers)


@lru_cache(maxsize=100)
def _preferred(accepted: str, offers: tuple[Encoding, ...]) -> Encoding | None:
    qualities: dict[str, float] = {}
    for item in accepted.lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        qualities[_ALIASES.get(coding, coding)] = _quality(parameters)
    others = qualities.get("*", 0.0)
    best = max(offers, key=lambda offer: qualities.get(offer, others))
    least = max(qualities.get("identity", 0.0), 0.0)
    quality = qualities.get(best, others)
    return best if quality > 0 and quality >= least else None


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


async def compressed(body: bytes, encoding: Encoding) -> bytes:
    """The body in this encoding, at the level that costs least; a long one in a thread, since both let others run."""
    pack = _PACK[encoding]
    if len(body) > _IN_A_THREAD:
        return await asyncio.to_thread(pack, body)
    return pack(body)


def _brotli(body: bytes) -> bytes:
    # At this level it takes less time than gzip at its lowest, and leaves fewer bytes.
    packed: bytes = brotli.compress(body, mode=brotli.MODE_TEXT, quality=1)
    return packed


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, level=1, wbits=31)


_PACK: Final[Mapping[Encoding, Callable[[bytes], bytes]]] = {Encoding.BROTLI: _brotli, Encoding.GZIP: _gzip}
