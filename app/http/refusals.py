"""How the endpoints beside `/graphql` answer what they refuse: its status, and the headers that belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.graph.errors import (
    BadUserInput,
    Forbidden,
    GraphError,
    Internal,
    RateLimited,
    Timeout,
    Unauthenticated,
    Unavailable,
)
from app.http.body import HttpRefusal

_STATUS: Final = {
    Unauthenticated: 401,
    Forbidden: 403,
    BadUserInput: 400,
    RateLimited: 429,
    Internal: 500,
    Unavailable: 503,
    Timeout: 504,
}


def status_of(error: GraphError | HttpRefusal) -> tuple[int, GraphError, Mapping[str, str]]:
    """Status, what to say, and headers that belong to it."""
    if isinstance(error, HttpRefusal):
        return error.status, error.error, error.headers
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RateLimited | Unavailable):
        headers["Retry-After"] = str(max(1, round((error.extensions or {})["retryAfter"])))
    return _STATUS.get(type(error), 400), error, headers
