"""Root fields of `Subscription`: what their arguments ask for, and how the schema has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument

from app.auth.actor import Actor
from app.graph.fields import GraphField
from app.live.group import Source

Open: TypeAlias = Callable[[Actor, Mapping[str, Any]], Source]
"""Checks the arguments of a subscription for a caller. Raises GraphError."""


class LiveField(GraphField):
    """A root field of `Subscription`; an event is the root value of its execution."""

    open: Open


def live_field(
    name: str, annotation: Any, description: str, open_: Open, arguments: Sequence[StrawberryArgument]
) -> LiveField:
    """A root field of `Subscription`."""
    made = LiveField(
        python_name=name, type_annotation=StrawberryAnnotation(annotation), description=description, default=None
    )
    made.open = open_
    made.resolve = _event
    made.arguments = list(arguments)
    return made


def _event(event: Any, _info: Any, **_arguments: Any) -> Any:
    return event
