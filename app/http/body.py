"""Bodies in and out: read within a limit, decoded in one place, encoded in one place (traps 4 and 5)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import msgspec
import orjson
from starlette.types import Receive

from app.graph.errors import BadUserInput, GraphError, OperationTooComplex
from app.graph.request import GraphQLRequest
from app.http.headers import RequestHeaders

_PARAMETERS: Final = ("query", "variables", "operationName", "extensions")
_PATIENCE_SECONDS: Final = 5.0
_JSON_TYPES: Final = ("application/json", "application/graphql+json")


class HttpRefusal(Exception):
    """A request that HTTP alone is enough to refuse: a status, what to tell, and headers that belong to it."""

    def __init__(self, status: int, error: GraphError, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers: Final = dict(headers or {})


class ClientGone(Exception):
    """The client hung up before its request was complete, or answered."""


async def read_body(headers: RequestHeaders, receive: Receive, limit: int) -> bytes:
    """The body, inflated if it is gzip. Raises `HttpRefusal` with 400, 413 or 415, and `ClientGone`."""
    encoding = (headers.get(b"content-encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        message = f"The content encoding '{encoding[:40]}' is not known here. Send gzip, or none."
        raise HttpRefusal(415, BadUserInput(message, "Content-Encoding"), {"Accept-Encoding": "gzip"})
    declared = headers.get(b"content-length") or "0"
    if declared.isascii() and declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        await _discard(receive)
        raise _too_large(limit)
    inflate = zlib.decompressobj(wbits=31) if encoding != "identity" else None
    body = bytearray()
    received = 0
    while True:
        message_ = await receive()
        if message_["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message_.get("body", b"")
        if not received and inflate is None and len(chunk) <= limit and not message_.get("more_body", False):
            return chunk  # nearly always
        received += len(chunk)
        if received <= limit:
            body += chunk if inflate is None else _inflated(inflate, chunk, limit - len(body))
        if max(received, len(body)) > limit:
            if message_.get("more_body", False):
                await _discard(receive)
            raise _too_large(limit)
        if not message_.get("more_body", False):
            break
    if inflate is not None and not inflate.eof:
        raise HttpRefusal(400, BadUserInput("The gzip body is cut off."))
    return bytes(body)


async def _discard(receive: Receive) -> None:
    """Take the rest of a body that is refused, for a while, and keep none of it.

    A client that is still writing when the connection closes gets a reset, and never reads why.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                if not message.get("more_body", False):
                    return


def _inflated(inflate: zlib._Decompress, chunk: bytes, room: int) -> bytes:
    """At most one byte more than there is room for: a bomb goes off no further than that."""
    try:
        inflated = inflate.decompress(chunk, room + 1)
    except zlib.error:
        raise HttpRefusal(400, BadUserInput("The body is not the gzip that Content-Encoding says it is.")) from None
    if inflate.unused_data:
        raise HttpRefusal(400, BadUserInput("The gzip body goes on behind its end."))
    return inflated


def _too_large(limit: int) -> HttpRefusal:
    error = OperationTooComplex(limit + 1, limit, "body", f"The body is larger than {limit} bytes.")
    return HttpRefusal(413, error, {"Connection": "close"})


def require_json(headers: RequestHeaders) -> None:
    """Refuse every content type but JSON with 415.

    Forms and text/plain are what a page of another site can send with the visitor's browser and no preflight (CSRF).
    """
    content_type = headers.get(b"content-type") or ""
    complaint = _complaint(content_type) if len(content_type) <= 200 else _complaint.__wrapped__(content_type)
    if complaint is not None:
        raise HttpRefusal(415, BadUserInput(complaint, "Content-Type"), {"Accept-Post": "application/json"})


@lru_cache(maxsize=100)
def _complaint(content_type: str) -> str | None:
    """What is wrong with a content type. Clients send the same few all day."""
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [value.strip(' "') for name, _, value in (p.partition("=") for p in parameters) if name == "charset"]
    if media_type not in _JSON_TYPES:
        return "Send the request as JSON, with Content-Type: application/json."
    if any(charset not in ("utf-8", "utf8") for charset in charsets):
        return "JSON is UTF-8 here; send Content-Type: application/json without another charset."
    return None


Requests: TypeAlias = GraphQLRequest | list[GraphQLRequest]

_request: Final[msgspec.json.Decoder[Requests]] = msgspec.json.Decoder(Requests)
_object: Final[msgspec.json.Decoder[dict[str, Any] | None]] = msgspec.json.Decoder(dict[str, Any] | None)

T = TypeVar("T")


def decode_request(body: bytes) -> Requests:
    """A body as one request, or as several in an array. Raises `HttpRefusal` with 400 for everything else."""
    return _decoded(_request, body, "body")


def decode_query(query_string: bytes) -> GraphQLRequest:
    """The request in the address of a GET. Raises `HttpRefusal` with 400."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise HttpRefusal(400, BadUserInput("The address is not well-formed.")) from None
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given and name in _PARAMETERS:
            raise HttpRefusal(400, BadUserInput(f"The parameter {name} is given twice.", name))
        given[name] = value
    return GraphQLRequest(
        query=given.get("query"),
        variables=_decoded(_object, given["variables"].encode(), "variables") if given.get("variables") else None,
        operation_name=given.get("operationName") or None,
        extensions=_decoded(_object, given["extensions"].encode(), "extensions") if given.get("extensions") else None,
    )


def _decoded(decoder: msgspec.json.Decoder[T], data: bytes, name: str) -> T:
    try:
        return decoder.decode(data)
    except UnicodeDecodeError:
        complaint = "is not UTF-8."
    except RecursionError:
        complaint = "is nested too deeply."
    except msgspec.ValidationError as error:
        complaint = f"does not fit: {error}."
    except msgspec.DecodeError as error:
        complaint = f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}."
    where = "The body" if name == "body" else f"The parameter {name}"
    raise HttpRefusal(400, BadUserInput(f"{where} {complaint}", name))


def encode(value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bytes:
    """JSON of a response. Raises TypeError or ValueError for values that JSON has no form for."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # orjson stops at 64 bits, at half a surrogate pair, and at 254 levels; JSON itself does none of it.
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_written).encode()


def _written(value: Any) -> Any:
    """What is JSON already."""
    if not isinstance(value, orjson.Fragment):
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return json.loads(orjson.dumps(value))
