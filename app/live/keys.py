"""Who is the same caller, and which subscriptions are the same, so that one group serves them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

from graphql import FieldNode, Visitor, visit
from graphql.language import VariableNode

from app.auth.actor import Actor
from app.graph.documents import Operation
from app.graph.registry import ENTITIES, camel
from app.graph.selection import Selection


def caller_key(actor: Actor) -> Hashable:
    """One caller with one token."""
    return actor.tenant_id, actor.kind, actor.id, actor.token


def group_key(selection: Selection, actor: Actor, is_personal: bool) -> Hashable:
    """What makes two subscriptions the same: document, variables, tenant and what the caller may see. Where to go on
    from is no part of it, nor is who asks, unless the rows (`is_personal`) or the selection depend on it."""
    operation = selection.operation
    given = dict(selection.variables)
    after = next((one.value for one in selection.node.arguments or () if one.name.value == "after"), None)
    if isinstance(after, VariableNode) and _uses(operation, after.name.value) == 1:
        given.pop(after.name.value, None)
    person = actor.id if is_personal or _is_personal(operation, actor) else None
    return actor.tenant_id, operation.document.hash, operation.name, repr(given), actor.kind, actor.permissions, person


class _Names(Visitor):
    """Counts variables and collects names of fields."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: Counter[str] = Counter()
        self.fields: set[str] = set()

    def enter_variable_definition(self, *_: Any) -> Any:
        return self.SKIP

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.variables[node.name.value] += 1

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.fields.add(node.name.value)


def _names(operation: Operation) -> _Names:
    names = _Names()
    for node in (operation.node, *operation.document.fragments.values()):
        visit(node, names)
    return names


def _uses(operation: Operation, variable: str) -> int:
    return _names(operation).variables[variable]


def _is_personal(operation: Operation, actor: Actor) -> bool:
    """Whether the selection has something that depends on who asks, beside their permissions."""
    entities = [
        entity
        for name in operation.types
        if (entity := ENTITIES.get(name.removesuffix("Connection").removesuffix("Edge"))) is not None
    ]
    if any(entity.private is not None for entity in entities):
        return True
    personal = {camel(name) for entity in entities for name in entity.personal_to(actor)}
    return bool(personal) and not personal.isdisjoint(_names(operation).fields)
