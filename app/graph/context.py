"""What the resolvers of one operation share."""

from typing import Any, TypeAlias

from graphql import GraphQLResolveInfo

from app.auth.actor import Actor
from app.graph.loaders import Loaders, Observe
from app.graph.paging import Reader
from db.session import Database, Reading


class OperationContext:
    """One operation: its caller, its snapshot of the database, its loaders."""

    def __init__(
        self,
        actor: Actor,
        reading: Reading,
        request_id: str,
        observe: Observe = lambda _name, _keys: None,
    ) -> None:
        self.actor = actor
        self.reading = reading
        self.request_id = request_id
        self.reader = Reader(actor)
        self._observe = observe
        self.loaders = Loaders(reading, self.reader, observe)

    @property
    def database(self) -> Database:
        """Where commands write."""
        return self.reading.database

    async def renew(self) -> None:
        """Look at the database anew, after a command has changed it."""
        await self.reading.restart()
        self.loaders = Loaders(self.reading, self.reader, self._observe)

    @property
    def statements(self) -> int:
        """Data statements so far (decision 35)."""
        return self.reading.statements


Info: TypeAlias = GraphQLResolveInfo[Any]
"""What graphql-core tells a resolver; `context` is an OperationContext."""


def context_of(info: Info) -> OperationContext:
    """The context of a resolver's operation."""
    context: OperationContext = info.context
    return context
