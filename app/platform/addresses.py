"""What names on the network stand for: looked up before the gateway is made to send anything there (WHK-1)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from app.platform.rules.webhooks import address_in, host_of, is_public, url_fault

LONGEST_LOOKUP: Final = 3.0
"""Seconds that a name server may take."""


async def lookup(host: str) -> Sequence[str]:
    """Every address of a name; none where there is none, or nobody says so in time."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LONGEST_LOOKUP):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return ()
    return [str(one[4][0]) for one in found]


async def destination_fault(url: str) -> str | None:
    """WHK-1. Why the gateway would not send to an address: as it is written, or by what its name stands for now.

    A name may stand for something else later, so whoever sends looks again.
    """
    if fault := url_fault(url):
        return fault
    host = host_of(url)
    if address_in(host) is not None:
        return None
    addresses = await lookup(host)
    if not addresses:
        return f"Nobody knows the host {host[:200]!r}. Check the name, or try again."
    if not all(map(is_public, addresses)):
        return f"The host {host[:200]!r} has a private address, or one of this machine or network."
    return None
