"""Streams over HTTP: server-sent events (graphql-sse, distinct connections) and multipart subscriptions.

Lines of events end with LF alone (trap 12), and a multipart answer ends with the closing boundary and no empty part
before it (trap 13). A stream that has nothing to say says so from time to time, for proxies that close what is silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.types import Receive, Send

from app.graph.errors import FormattedError
from app.http.body import encode
from app.http.negotiation import Media
from app.http.streams import Message, Outbox

_TYPES: Final = {
    Media.EVENTS: "text/event-stream; charset=utf-8",
    Media.MULTIPART: 'multipart/mixed; boundary="graphql"; subscriptionSpec="1.0"',
}
_OPENING: Final = {Media.EVENTS: b":\n\n", Media.MULTIPART: b"--graphql"}
_HEARTBEAT: Final = {
    Media.EVENTS: b":\n\n",
    Media.MULTIPART: b"\r\nContent-Type: application/json\r\n\r\n{}\r\n--graphql",
}
_CLOSING: Final = {Media.EVENTS: b"event: complete\ndata:\n\n", Media.MULTIPART: b"--\r\n"}


async def stream(media: Media, outbox: Outbox, send: Send, heartbeat_seconds: float) -> None:
    """Send what comes into the outbox until the stream has ended."""
    headers = {
        "content-type": _TYPES[media],
        "cache-control": "no-store",
        "vary": "Accept, Authorization",
        "x-accel-buffering": "no",  # nginx would hold events back
    }
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    await _send(send, _OPENING[media])
    while True:
        messages = await outbox.take(heartbeat_seconds)
        ended = outbox.errors
        text = b"".join(_framed(media, one) for one in messages)
        if ended is not None:
            await _send(send, text + _ending(media, ended), more=False)
            return
        await _send(send, text or _HEARTBEAT[media])


def _framed(media: Media, message: Message) -> bytes:
    return message.event if media is Media.EVENTS else b"\r\n" + message.part


def _ending(media: Media, errors: Sequence[FormattedError]) -> bytes:
    if not errors:
        return _CLOSING[media]
    if media is Media.EVENTS:
        return Message(encode({"errors": list(errors)})).event + _CLOSING[media]
    # Errors beside the payload end the subscription, as the protocol has it.
    body = encode({"payload": None, "errors": list(errors)})
    return b"\r\nContent-Type: application/json\r\n\r\n" + body + b"\r\n--graphql" + _CLOSING[media]


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def until_gone(receive: Receive) -> None:
    """Return once the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
