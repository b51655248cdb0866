"""Whether a version is still what was built, told wherever a version is shown (GEN-8)."""

from __future__ import annotations

from typing import Any

from app.graph.declared import Declaration, Declared
from app.graph.fields import GraphField, Shape, base_type, graph_field
from app.registry.rules import IntegrityStatus, integrity_of


def integrity_status(description: str) -> Any:
    """A field that hashes the row's genome again; it writes nothing."""

    def make(_declaration: Declaration, name: str, shape: Shape) -> GraphField:
        def resolve(row: Any, _info: Any) -> str:
            return integrity_of(row.genome, row.genome_hash).value

        kind = base_type(shape.name, {IntegrityStatus.__name__: IntegrityStatus})
        return graph_field(name, shape.graphql(kind), description, resolve)

    return Declared(make)
