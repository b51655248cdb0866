"""Who did something, as a snapshot names them."""

from dataclasses import dataclass
from uuid import UUID

from app.legacy.document import Doc, member
from app.legacy.world import World
from db.enums import ActorType


@dataclass(frozen=True, slots=True)
class Actor:
    """Type and row of whoever acted, and the name where it stands for no row."""

    type: ActorType
    id: UUID | None
    text: str | None

    @property
    def is_agent(self) -> bool:
        """Whether an agent acted."""
        return self.type is ActorType.AGENT


def actor_of(doc: Doc, world: World, type_field: str, *id_fields: str) -> Actor:
    """The actor in these fields. Raises Rejection for a type that is none; an unknown name is kept as text."""
    given = doc.take(type_field)
    kind = ActorType(member(type_field, given, ActorType)) if given is not None else ActorType.SYSTEM
    named = doc.take(*id_fields)
    if not isinstance(named, str):
        return Actor(kind, None, None)
    match kind:
        case ActorType.AGENT:
            found = world.keys.find("AgentInstance", named)
        case ActorType.HUMAN:
            found = world.operator(named)
        case _:
            found = None
    return Actor(kind, found, None if found else named)
