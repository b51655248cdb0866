"""Plain Strawberry's pages: Relay connections as generic types."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import strawberry

Node = TypeVar("Node")


@strawberry.type
class PageInfo:
    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class Edge(Generic[Node]):
    node: Node


@strawberry.type
class Connection(Generic[Node]):
    edges: list[Edge[Node]]
    page_info: PageInfo


def connection(rows: Sequence[Any], first: int, node: Callable[[Any], Node]) -> Connection[Node]:
    """A page of rows, of which there is one more than the page has where more follow."""
    page = rows[:first]
    end = base64.urlsafe_b64encode(page[-1].id.bytes).decode() if page else None
    return Connection(
        edges=[Edge(node=node(row)) for row in page],
        page_info=PageInfo(has_next_page=len(rows) > first, end_cursor=end),
    )
