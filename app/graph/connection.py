"""Connections: Relay's pages of a list, with a keyset for a cursor."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from strawberry.types.arguments import StrawberryArgument

from app.graph.fields import GraphField, argument, graph_field, list_of, optional
from app.graph.filtering import filter_type
from app.graph.making import create_type
from app.graph.ordering import order_type
from app.graph.paging import DEFAULT_PAGE, MAX_LOG_PAGE, MAX_PAGE, Page
from app.graph.registry import ENTITIES, TYPES, EntityType, Named


class Connected:
    """The run-time value of a connection: rows and total are fetched when somebody asks for them."""

    __slots__ = ("count", "load", "page")

    def __init__(
        self, page: Page, load: Callable[[], Awaitable[list[Any]]], count: Callable[[], Awaitable[int]]
    ) -> None:
        self.page = page
        self.load = load
        self.count = count

    def rows(self, found: Sequence[Any]) -> Sequence[Any]:
        """The rows of the page in the list's order, without the one that only tells of more."""
        kept = found[: self.page.size]
        return kept[::-1] if self.page.backward else kept

    def info(self, found: Sequence[Any]) -> dict[str, Any]:
        """The page's info."""
        page, rows, more = self.page, self.rows(found), len(found) > self.page.size
        return {
            "has_next_page": page.before is not None if page.backward else more,
            "has_previous_page": more if page.backward else page.after is not None,
            "start_cursor": page.order.cursor(rows[0]) if rows else None,
            "end_cursor": page.order.cursor(rows[-1]) if rows else None,
        }


async def _edges(source: Connected, _info: Any) -> list[tuple[Any, Page]]:
    return [(row, source.page) for row in source.rows(await source.load())]


async def _page_info(source: Connected, _info: Any) -> dict[str, Any]:
    return source.info(await source.load())


async def _total_count(source: Connected, _info: Any) -> int:
    return await source.count()


def _key(name: str) -> Callable[[Mapping[str, Any], Any], Any]:
    return lambda source, _info: source[name]


PageInfo: Final = create_type(
    "PageInfo",
    [
        graph_field("has_next_page", bool, "Whether rows follow this page.", _key("has_next_page")),
        graph_field("has_previous_page", bool, "Whether rows stand before this page.", _key("has_previous_page")),
        graph_field(
            "start_cursor", optional(str), "Cursor of the first row; `before` it pages backward.", _key("start_cursor")
        ),
        graph_field(
            "end_cursor", optional(str), "Cursor of the last row; `after` it pages forward.", _key("end_cursor")
        ),
    ],
    description="Where a page lies in its list.",
)
TYPES["PageInfo"] = PageInfo


def connection_type(name: str) -> Named:
    """The connection type of an entity, by the entity's name; makes it on first use."""
    connection = f"{name}Connection"
    if connection not in TYPES:
        edge = f"{name}Edge"
        TYPES[edge] = create_type(
            edge,
            [
                graph_field("cursor", str, "Where the row stands in the list.", lambda s, _i: s[1].order.cursor(s[0])),
                graph_field("node", Named(name), "The row.", lambda s, _i: s[0]),
            ],
            description=f"One row of a list of type {name}, and where it stands.",
        )
        TYPES[connection] = create_type(
            connection,
            [
                graph_field("edges", list_of(Named(edge)), "The rows of the page.", _edges),
                graph_field("page_info", PageInfo, "Where the page lies, and the cursors to go on.", _page_info),
                graph_field(
                    "total_count",
                    int,
                    "Number of rows that meet the filter, on all pages; counted only when asked for.",
                    _total_count,
                ),
            ],
            description=f"A page of a list of type {name}.",
        )
    return Named(connection)


class ConnectionField(GraphField):
    """A list with paging, filter and order. Its arguments are derived when the schema is built."""

    target: str

    @property
    def arguments(self) -> list[StrawberryArgument]:
        """The arguments of a list."""
        return page_arguments(ENTITIES[self.target])

    @arguments.setter
    def arguments(self, value: list[StrawberryArgument]) -> None:
        """Nothing to keep: they follow from the target."""


def connection_field(name: str, target: str, description: str, resolve: Callable[..., Any]) -> ConnectionField:
    """A field that gives a page of `target`."""
    made = ConnectionField(python_name=name, description=description, default=None)
    made.type = connection_type(target)
    made.resolve = resolve
    made.target = target
    return made


def max_page(entity: EntityType) -> int:
    """Most rows of a page: logs that are read in bulk have longer ones."""
    return MAX_LOG_PAGE if entity.default_hours is not None else MAX_PAGE


def page_arguments(entity: EntityType) -> list[StrawberryArgument]:
    """What every list takes."""
    limit = max_page(entity)
    return [
        argument(
            "first", optional(int), f"How many rows from the front, at most {limit}; {DEFAULT_PAGE} if nothing is said."
        ),
        argument("after", optional(str), "Rows behind this cursor only."),
        argument("last", optional(int), f"How many rows from the end, at most {limit}, instead of `first`."),
        argument("before", optional(str), "Rows before this cursor only."),
        argument("filter", filter_type(entity), "Which rows."),
        argument("order_by", order_type(entity), "How to sort; by creation, oldest first, if nothing is said."),
    ]
