"""The messages of graphql-transport-ws, and its close codes.

The protocol's text: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from app.graph.request import GraphQLRequest

SUBPROTOCOL: Final = "graphql-transport-ws"


class Close(IntEnum):
    """Why the gateway closes a socket. Clients of the protocol take 4401 for final, and come back after 4403."""

    SERVICE_RESTART = 1012
    """The gateway stops; come back, to another or the next."""
    TRY_AGAIN_LATER = 1013
    """As many sockets as there may be, or no way to check the token at the moment."""
    BAD_REQUEST = 4400
    """A message that is not one of the protocol's."""
    UNAUTHORIZED = 4401
    """No token, a token that is not good, or operations before there was one (trap 15)."""
    FORBIDDEN = 4403
    """The token came to its end on an open socket; come back with a new one."""
    NOT_ACCEPTABLE = 4406
    """The client does not speak graphql-transport-ws."""
    INIT_TIMEOUT = 4408
    """`connection_init` did not come in time (trap 14)."""
    DUPLICATE_ID = 4409
    """An operation of this id is running on the socket."""
    TOO_MANY_INITS = 4429
    """`connection_init` came twice."""


OperationId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Payload: TypeAlias = dict[str, Any] | None


class ConnectionInit(msgspec.Struct, tag="connection_init", tag_field="type", frozen=True):
    """The client's first message: ``{authorization, tenant}``."""

    payload: Payload = None


class Ping(msgspec.Struct, tag="ping", tag_field="type", frozen=True):
    """Answered with a pong of the same payload."""

    payload: Payload = None


class Pong(msgspec.Struct, tag="pong", tag_field="type", frozen=True):
    """An answer to a ping, or a sign of life of its own."""

    payload: Payload = None


class Subscribe(msgspec.Struct, tag="subscribe", tag_field="type", frozen=True):
    """Run an operation of any kind under an id of the client's."""

    id: OperationId
    payload: GraphQLRequest


class Complete(msgspec.Struct, tag="complete", tag_field="type", frozen=True):
    """The client wants nothing more of an operation."""

    id: OperationId


ClientMessage: TypeAlias = ConnectionInit | Ping | Pong | Subscribe | Complete

_decoder: Final[msgspec.json.Decoder[ClientMessage]] = msgspec.json.Decoder(ClientMessage)


class BadMessage(ValueError):
    """What arrived is not a message of the protocol (trap 16); the text says why."""


def decode_message(text: str | None) -> ClientMessage:
    """A text frame as a message. Raises `BadMessage`."""
    if text is None:
        raise BadMessage("messages are text, not binary")
    try:
        message = _decoder.decode(text)
    except RecursionError:
        raise BadMessage("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadMessage(str(error)) from None
    if isinstance(message, Subscribe):
        request = message.payload
        if request.query is None and "persistedQuery" not in (request.extensions or {}):
            raise BadMessage("a subscribe message needs payload.query")
    return message


def close_reason(text: str) -> str:
    """A close reason of at most 123 bytes, which is all a close frame has room for (RFC 6455, 5.5)."""
    return text.encode()[:123].decode(errors="ignore")
