"""What the resolvers of one operation share."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeAlias

from graphql import GraphQLResolveInfo

from app.auth.actor import Actor
from app.graph.loaders import Loaders, Observe
from app.graph.paging import Reader
from app.graph.recent import Recent, Tally
from app.sealing import Seal
from db.session import Database, Reading


class OperationContext:
    """One operation: its caller, its snapshot of the database, its loaders."""

    def __init__(
        self,
        actor: Actor,
        reading: Reading,
        request_id: str,
        observe: Observe = lambda _name, _keys: None,
        instance_token: Callable[[Actor, str, int], str | None] | None = None,
        seal: Seal | None = None,
        recent: Recent | None = None,
    ) -> None:
        """`instance_token` signs an agent's token for the caller, from its id and its token epoch; `seal` encrypts
        secrets that commands store, and is None where the gateway has no key for that; `recent` is what the process did
        lately."""
        self.actor = actor
        self.reading = reading
        self.request_id = request_id
        self.seal = seal
        self.observe = observe
        self._instance_token = instance_token
        self._recent = recent
        self._loaders: Loaders | None = None
        self.performed: dict[str, Any] = {}
        """By response key: the outcome of a command that has been run already, or what it raised."""

    @cached_property
    def reader(self) -> Reader:
        """Makes the caller's statements."""
        return Reader(self.actor)

    @property
    def loaders(self) -> Loaders:
        """The loaders of the operation, made when the first resolver asks."""
        if self._loaders is None:
            self._loaders = Loaders(self.reading, self.reader, self.observe)
        return self._loaders

    @property
    def database(self) -> Database:
        """Where commands write."""
        return self.reading.database

    def instance_token(self, instance_id: str, epoch: int) -> str | None:
        """A token for an agent of the caller's tenant; None where the gateway has no key to sign with."""
        return None if self._instance_token is None else self._instance_token(self.actor, instance_id, epoch)

    async def renew(self) -> None:
        """Look at the database anew, after a command has changed it."""
        await self.reading.restart()
        self._loaders = None

    @property
    def lately(self) -> Tally:
        """What this process has done for the caller's tenant in the last minutes."""
        return Tally() if self._recent is None else self._recent.of(self.actor.tenant_id)

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
