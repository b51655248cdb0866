"""From a selection to a plan.

**The rule of joins.** A to-one relation of the rows that an operation begins with (a root's page, a row by its id), and
of rows that are read once each, comes along in their own statement, as an outer join: it is one row for each, so
nothing is read twice that matters. Two things are read apart, by distinct keys, each row written once: a relation of
rows *below* a list, where hundreds of rows share a few targets; and one whose selection takes a JSON column, which may
be long, off the rows of a list. At most eight are joined to one statement.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
    get_nullable_type,
    is_enum_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from sqlalchemy.dialects.postgresql import JSONB

from app.auth.actor import Actor
from app.graph.fields import GraphField, OfRow
from app.graph.registry import ENTITIES, EntityType, PointsTo, Relation, Through, ToMany, ToOne
from app.query.arguments import Arguments
from app.query.columns import Differently, Impossible, Write, read, stored, writer
from app.query.json_values import JsonValue
from app.query.lists import Edges, ListedChild, PageInfo, Pages, Part, TotalCount, TypeName
from app.query.lookups import JsonChild, PointsToChild, Single, ToOneChild
from app.query.payload import Constant, NoErrors, Payload, PayloadPart, RowsPart, ValuePart
from app.query.plan import Plan, Root, RootList, RootNodes, RootRow
from app.query.rows import MOST_JOINS, Rows
from app.query.statements import CALLER

MOST_OBJECTS: Final = 2_000
"""Object selections of one plan; what fragments inside fragments blow up beyond that is left to the reference way."""

Details = Sequence[FieldDetails]


class Planner:
    """Makes the plan of one operation, for callers with the same permissions and variables that decide directives."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDetails],
        operation: OperationDefinitionNode,
        variables: VariableValues,
        actor: Actor,
    ) -> None:
        """Of the variables only those that `@skip` and `@include` look at."""
        self._schema = schema
        self._fragments = dict(fragments)
        self._operation = operation
        self._variables = variables
        self._actor = actor
        self._objects = 0

    def plan(self) -> Plan:
        """The plan. What cannot be compiled is left to the reference way, root field by root field."""
        query = self._schema.query_type
        assert query is not None  # noqa: S101 - it has one
        collected = collect_fields(self._schema, self._fragments, self._variables, query, self._operation)
        roots: dict[str, Root | str | None] = {}
        rest: list[FieldNode] = []
        for key, details in collected.grouped_field_set.items():
            try:
                roots[key] = self._root(query, details)
            except Impossible:
                roots[key] = None
                rest += [one.node for one in details]
        return Plan(roots, rest)

    def payload(self) -> Payload:
        """The plan of a mutation. Raises Impossible where the resolvers are to answer it."""
        mutation = self._schema.mutation_type
        assert mutation is not None  # noqa: S101 - it has one
        collected = collect_fields(self._schema, self._fragments, self._variables, mutation, self._operation)
        if len(collected.grouped_field_set) != 1:
            raise Impossible("several mutations, which run one after the other")
        ((key, details),) = collected.grouped_field_set.items()
        node = details[0].node
        field = mutation.fields.get(node.name.value)
        perform = None if field is None else _definition(field).perform
        if field is None or perform is None:
            raise Impossible(node.name.value)
        kind = _object_type(field)
        parts = {alias: self._part(kind, inner) for alias, inner in self._fields(kind, details).items()}
        return Payload(key, perform, field, node, parts)

    def _part(self, kind: GraphQLObjectType, details: Details) -> PayloadPart:
        name = details[0].node.name.value
        if name == "__typename":
            return Constant(kind.name)
        shown = _definition(kind.fields[name]).of_outcome
        if shown is None:
            raise Impossible(f"{kind.name}.{name}")
        if shown.value is not None:
            json, singles = self._json_value(kind.fields[name], details)
            return ValuePart(json, singles, shown.value)
        if shown.entity is None:
            return NoErrors()
        is_list = is_list_type(get_nullable_type(kind.fields[name].type))
        return RowsPart(self._single(ENTITIES[shown.entity], details, several=is_list), shown)

    # Roots

    def _root(self, query: GraphQLObjectType, details: Details) -> Root | str:
        node = details[0].node
        name = node.name.value
        if name == "__typename":
            return query.name
        field = query.fields.get(name)
        root = _definition(field).root if field is not None else None
        if field is None or root is None:
            raise Impossible(name)
        if root.entity is None:
            singles = self._lazily(
                lambda name: self._single(ENTITIES[name], details, scoped=True, several=root.is_list)
            )
            return RootNodes(singles, Arguments(field, node), root.is_list)
        entity = ENTITIES[root.entity]
        if root.is_list:
            return RootList(self._pages(None, entity, field, details, nested=False))
        return RootRow(self._single(entity, details, scoped=True, several=False), Arguments(field, node), node)

    def _lazily(self, make: Callable[[str], Single]) -> Callable[[str], Single]:
        """The rows of a type by its name, planned when the first of them turns up."""
        made: dict[str, Single] = {}

        def single_of(name: str) -> Single:
            if name not in made:
                made[name] = make(name)
            return made[name]

        return single_of

    # Lists and rows

    def _single(self, entity: EntityType, details: Details, *, scoped: bool = False, several: bool = True) -> Single:
        rows = Rows(entity, leading=0, may_join=True)
        place = rows.column(entity.table, "id")
        expression = self._object(rows, entity, entity.table, details, of_list=several)
        return Single(rows, expression, scoped, place)

    def _pages(
        self,
        relation: ToMany | Through | None,
        entity: EntityType,
        field: GraphQLField,
        details: Details,
        *,
        nested: bool,
    ) -> Pages:
        rows = Rows(entity, leading=1 if nested else 0, may_join=not nested)
        rows.column(entity.table, "id")
        connection = _object_type(field)
        parts: list[Part] = []
        for key, inner in self._fields(connection, details).items():
            match inner[0].node.name.value:
                case "edges":
                    parts.append(Edges(key, self._edge(rows, entity, connection.fields["edges"], inner)))
                case "pageInfo":
                    info = _object_type(connection.fields["pageInfo"])
                    names = {alias: one[0].node.name.value for alias, one in self._fields(info, inner).items()}
                    parts.append(PageInfo(key, names, info.name))
                case "totalCount":
                    parts.append(TotalCount(key))
                case "__typename":
                    parts.append(TypeName(key, connection.name))
        return Pages(relation, rows, parts, Arguments(field, details[0].node))

    def _edge(self, rows: Rows, entity: EntityType, field: GraphQLField, details: Details) -> str:
        edge = _object_type(field)
        parts = []
        for key, inner in self._fields(edge, details).items():
            match inner[0].node.name.value:
                case "cursor":
                    parts.append(f"{key!r}: k(r)")
                case "node":
                    parts.append(f"{key!r}: {self._object(rows, entity, entity.table, inner, of_list=True)}")
                case "__typename":
                    parts.append(f"{key!r}: {edge.name!r}")
        return "{" + ", ".join(parts) + "}"

    def _fields(self, kind: GraphQLObjectType, details: Details) -> Mapping[str, Details]:
        self._objects += 1
        if self._objects > MOST_OBJECTS:
            raise Impossible("a selection of too many objects")
        collected = collect_subfields(
            self._schema, self._fragments, self._variables, self._operation, kind, list(details)
        )
        return collected.grouped_field_set

    def _type(self, entity: EntityType) -> GraphQLObjectType:
        kind = self._schema.type_map[entity.name]
        assert is_object_type(kind)  # noqa: S101 - entities are
        return kind

    # One row

    def _object(self, rows: Rows, entity: EntityType, table: Any, details: Details, *, of_list: bool) -> str:
        """The expression that writes a row of `table`, an entity's own or one that is joined."""
        kind = self._type(entity)
        parts = []
        for key, inner in self._fields(kind, details).items():
            name = inner[0].node.name.value
            if name == "__typename":
                parts.append(f"{key!r}: {entity.name!r}")
                continue
            field = kind.fields[name]
            definition = _definition(field)
            if name == "id":
                written = f"{entity.prefix + '_'!r} + r[{rows.column(table, 'id')}].hex()"
            elif definition.of_row is not None:
                written = self._of_row(rows, entity, table, field, definition.of_row, inner)
            elif definition.of_sql is not None:
                number = definition.of_sql(table, CALLER)
                written = f"r[{rows.place((table.name, name, 'computed'), number)}]"
            else:
                relation = entity.relations.get(definition.python_name)
                if relation is None:
                    raise Impossible(f"{entity.name}.{name}")
                written = self._relation(rows, entity, table, field, relation, inner, of_list=of_list)
            parts.append(f"{key!r}: {written}")
        return "{" + ", ".join(parts) + "}"

    def _of_row(
        self, rows: Rows, entity: EntityType, table: Any, field: GraphQLField, source: OfRow, details: Details
    ) -> str:
        named = get_named_type(field.type)
        if source.show is not None:
            if named.name not in ("String", "JSON") and not is_enum_type(named):
                raise Impossible(f"a computed {named.name}")
            return self._computed(rows, entity, table, source)
        column = entity.table.c[source.columns[0]]
        if source.veil is None or self._actor.can(source.veil.permission):
            number = rows.column(table, column.name)
        else:
            number = rows.place((table.name, column.name, "veiled"), read(source.veil.shown(table, CALLER)))
        place = f"r[{number}]"
        if is_object_type(named):
            return self._json(rows, number, field, details)
        nullable = field.type.of_type if is_non_null_type(field.type) else field.type
        write = writer(column, named, is_list=is_list_type(nullable))
        if write is None:
            return place
        if is_non_null_type(field.type) and isinstance(column.type, JSONB):
            write = _required(write)  # a JSON column that is not null may still hold JSON's own null
        return f"{rows.give(write)}({place})"

    def _json_value(self, field: GraphQLField, details: Details) -> tuple[JsonValue, Sequence[Single]]:
        """What is shown of a field's JSON, and the rows that it names."""
        singles: list[Single] = []

        def shown(target: str, inner: Details) -> int:
            singles.append(self._single(ENTITIES[target], inner))
            return len(singles) - 1

        return JsonValue(field.type, details, self._fields, shown), singles

    def _json(self, rows: Rows, place: int, field: GraphQLField, details: Details) -> str:
        column, singles = self._json_value(field, details)
        write = rows.give(column.write)
        if not singles:
            return f"{write}(r[{place}])"
        return f"{write}(r[{place}], {rows.child(JsonChild(place, column, singles))})"

    def _computed(self, rows: Rows, entity: EntityType, table: Any, source: OfRow) -> str:
        columns = [entity.table.c[name] for name in source.columns]
        places = [rows.raw(table, column.name) for column in columns]
        row = namedtuple("row", source.columns)  # type: ignore[misc]
        show = source.show
        assert show is not None  # noqa: S101 - asked before

        def shown(actor: Actor, *values: Any) -> Any:
            return show(row(*map(stored, columns, values)), actor)

        given = ", ".join(f"r[{place}]" for place in places)
        return f"{rows.give(shown)}(a, {given})"

    def _relation(
        self,
        rows: Rows,
        entity: EntityType,
        table: Any,
        field: GraphQLField,
        relation: Relation,
        details: Details,
        *,
        of_list: bool,
    ) -> str:
        key_place = rows.column(table, "id")
        match relation:
            case ToOne():
                return self._to_one(rows, entity, table, field, relation, details, of_list=of_list)
            case PointsTo():
                word_place = rows.raw(table, relation.entity_column)
                id_place = rows.column(table, relation.id_column)
                singles = self._lazily(lambda name: self._single(ENTITIES[name], details))
                name = rows.child(PointsToChild(word_place, id_place, relation.names, singles))
                found = f"{name}.get((r[{word_place}], r[{id_place}]))"
                return f"({found} or fail())" if is_non_null_type(field.type) else found
            case Through(as_list=True):
                target = ENTITIES[relation.target]
                listed = Rows(target, leading=1, may_join=False)
                expression = self._object(listed, target, target.table, details, of_list=True)
                name = rows.child(ListedChild(relation, listed, expression, key_place))
                return f"{name}[r[{key_place}]]"
        pages = self._pages(relation, ENTITIES[relation.target], field, details, nested=True)
        pages.key_place = key_place
        return f"{rows.child(pages)}[r[{key_place}]]"

    def _to_one(
        self,
        rows: Rows,
        entity: EntityType,
        table: Any,
        field: GraphQLField,
        relation: ToOne,
        details: Details,
        *,
        of_list: bool,
    ) -> str:
        target = ENTITIES[relation.target]
        is_required = is_non_null_type(field.type)
        if self._joins(rows, target, details, of_list=of_list):
            joined = rows.join(target, table.c[relation.column])
            here = f"r[{rows.column(joined, 'id')}]"
            written = self._object(rows, target, joined, details, of_list=of_list)
            if of_list:
                written = rows.once(here, written)
            return f"({written} if {here} is not None else {'fail()' if is_required else 'None'})"
        place = rows.column(table, relation.column)
        name = rows.child(ToOneChild(self._single(target, details), place))
        return f"({name}.get(r[{place}]) or fail())" if is_required else f"{name}.get(r[{place}])"

    def _joins(self, rows: Rows, target: EntityType, details: Details, *, of_list: bool) -> bool:
        if not rows.may_join or len(rows.joins) >= MOST_JOINS or "tenant_id" not in target.table.c:
            return False
        return not (of_list and self._takes_json(target, details))

    def _takes_json(self, entity: EntityType, details: Details) -> bool:
        """Whether a selection takes a JSON column of the row itself."""
        kind = self._type(entity)
        for inner in self._fields(kind, details).values():
            field = kind.fields.get(inner[0].node.name.value)
            source = _definition(field).of_row if field is not None else None
            if source is not None and any(isinstance(entity.table.c[name].type, JSONB) for name in source.columns):
                return True
        return False


def _object_type(field: GraphQLField) -> GraphQLObjectType:
    kind = get_named_type(field.type)
    assert is_object_type(kind)  # noqa: S101 - the kit makes connections, edges and page information so
    return kind


def _definition(field: GraphQLField) -> GraphField:
    definition = field.extensions.get("strawberry-definition")
    if not isinstance(definition, GraphField):
        raise Impossible("a field that computes")
    return definition


def _required(write: Write) -> Write:
    def written(value: Any) -> Any:
        found = write(value)
        if found is None:
            raise Differently("a null where the type allows none")
        return found

    return written
