"""Documents as the gateway keeps them: parsed, measured and validated once, then found again by their hash.

The cache holds good documents only and is bounded in entries and in bytes. Its key is the SHA-256 of the text, which is
what automatic persisted queries name a document by, so those need no cache of their own (trap 21). Trusted documents
are read at the start and stay.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    Visitor,
    parse,
    specified_rules,
    validate,
    visit,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from app.graph.coercion import Coerce, coercion_of
from app.graph.errors import BadUserInput, ErrorCode, OperationTooComplex, ParseFailed, PersistedQueryNotFound
from app.graph.limits import Limits, Measures, Meter, TypeUse
from app.graph.pricing import Prices
from app.graph.trusted import Trusted, TrustedUnusable

BYTES_PER_CHARACTER: Final = 150
"""What a parsed document takes of memory for each character of its text: 50 to 280, by how dense it is."""

_RULES: Final = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
_TOO_LONG: Final = re.compile(r"contains more than \d+ (tokens|comments)")


class Refused(Exception):
    """A request that cannot be executed, with every reason. ``default`` is the code of reasons that bring none.

    A ``malformed`` one is no GraphQL request at all, which HTTP has its own status for.
    """

    def __init__(self, errors: Sequence[GraphQLError], default: ErrorCode, malformed: bool = False) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors
        self.default = default
        self.malformed = malformed


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document, valid against the schema: what hooks and the executor look at."""

    document: Document
    node: OperationDefinitionNode
    name: str | None
    """Its name, where it has one."""
    kind: OperationType
    """Query, mutation or subscription."""
    measures: Measures
    variables: Sequence[tuple[GraphQLVariableSignature, Coerce]]
    """Its variables' names and types, and what coerces their values."""
    deciding: tuple[str, ...]
    """Variables that decide what the selection holds: those of `@skip` and `@include`."""
    readers: set[Hashable] = field(default_factory=set, compare=False, repr=False)
    """`Actor.key` of callers who may read all that it reaches: see `app.graph.reading`."""

    @property
    def types(self) -> Mapping[str, TypeUse]:
        """Every composite type that the operation can reach, by name, with the path where it first does."""
        return self.measures.types

    @property
    def asks_for_schema_only(self) -> bool:
        """Whether its root fields are those of introspection alone."""
        return self.measures.introspection > 0 and all(
            isinstance(selection, FieldNode) and selection.name.value in ("__schema", "__type", "__typename")
            for selection in self.node.selection_set.selections
        )

    def narrowed(self, fields: Sequence[FieldNode]) -> DocumentNode:
        """The document with these root fields alone in its operation."""
        node = self.node
        alone = OperationDefinitionNode(
            loc=node.loc,
            operation=node.operation,
            name=node.name,
            variable_definitions=node.variable_definitions,
            directives=node.directives,
            selection_set=SelectionSetNode(loc=node.selection_set.loc, selections=tuple(fields)),
        )
        return DocumentNode(definitions=(alone, *self.document.fragments.values()))


@dataclass(frozen=True, slots=True)
class Document:
    """A document that is valid against the schema, and within the limits that do not depend on variables."""

    text: str
    hash: str
    """SHA-256 of the text, in hex."""
    node: DocumentNode
    fragments: Mapping[str, FragmentDefinitionNode]
    operations: Mapping[str | None, Operation]
    prices: Prices

    def operation(self, name: str | None) -> Operation:
        """The operation of this name, or the only one. Raises `Refused`."""
        if name is None and len(self.operations) > 1:
            names = ", ".join(f"'{known}'" for known in self.operations)
            message = f"The document has several operations; name one of them in operationName: {names}."
            raise Refused([BadUserInput(message, "operationName")], ErrorCode.BAD_USER_INPUT)
        chosen = next(iter(self.operations), None) if name is None else name
        found = self.operations.get(chosen)
        if found is None:
            message = f"The document has no operation named '{name}'." if name else "The document has no operation."
            raise Refused([BadUserInput(message, "operationName")], ErrorCode.BAD_USER_INPUT)
        return found


K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """The most recently used values, at most so many and of so many bytes together."""

    def __init__(self, entries: int, size: int) -> None:
        self._entries, self._size = entries, size
        self._used = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    @property
    def used(self) -> int:
        """Bytes in use, as told to `put`."""
        return self._used

    def get(self, key: K) -> V | None:
        """The value, which now is the most recently used one; None where there is none."""
        entry = self._values.get(key)
        if entry is None:
            return None
        self._values.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of this many bytes, unless it alone is more than the whole may be."""
        if size > self._size:
            return
        _, before = self._values.pop(key, (None, 0))
        self._values[key] = (value, size)
        self._used += size - before
        while self._used > self._size or len(self._values) > self._entries:
            _, (_, freed) = self._values.popitem(last=False)
            self._used -= freed


class _Deciding(Visitor):
    """Collects the variables of directives."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_rest: Any) -> None:
        for argument in node.arguments or ():
            if isinstance(argument.value, VariableNode):
                self.names.add(argument.value.name.value)


def _deciding(operation: OperationDefinitionNode, fragments: Sequence[FragmentDefinitionNode]) -> tuple[str, ...]:
    """Of the operation and of every fragment beside it, also of those that another operation uses."""
    visitor = _Deciding()
    visit(DocumentNode(definitions=(operation, *fragments)), visitor)
    declared = {one.variable.name.value for one in operation.variable_definitions or ()}
    return tuple(sorted(visitor.names & declared))


class Documents:
    """Texts to documents, through the cache."""

    def __init__(
        self,
        schema: GraphQLSchema,
        limits: Limits,
        trusted: Trusted | None = None,
        entries: int = 2_000,
        size: int = 64 * 2**20,
    ) -> None:
        """Raises TrustedUnusable where a trusted document is not good."""
        self._schema = schema
        self._limits = limits
        self._meter = Meter(schema, limits)
        self._cache: Lru[str, Document] = Lru(entries, size)
        self._trusted: dict[str, Document] = {}
        self._trusted_alone = trusted is not None and trusted.alone
        for name, text in (trusted.documents if trusted is not None else {}).items():
            self._trust(name, text)

    def find(self, text: str | None, name: str | None) -> Document:
        """The document of a request: its text, or the hash of one that was sent before, or the id of a trusted one.

        Raises `Refused`.
        """
        if text is None:
            known = self._trusted.get(name or "") or self._cache.get(name or "")
            if known is None:
                raise Refused([PersistedQueryNotFound()], ErrorCode.PERSISTED_QUERY_NOT_FOUND)
            return known
        digest = _digest(text)
        if name is not None and name != digest:
            message = "extensions.persistedQuery.sha256Hash is not the SHA-256 of the query, in lower-case hex."
            raise _refused(BadUserInput(message, "extensions.persistedQuery.sha256Hash"))
        known = self._trusted.get(digest) or self._cache.get(digest)
        if known is None:
            if self._trusted_alone:
                message = "Only trusted documents are run here, and this is none of them. Add it to the list."
                raise _refused(BadUserInput(message, "query"))
            known = self._read(text, digest)
            self._cache.put(digest, known, 2_000 + len(text) * BYTES_PER_CHARACTER)
        return known

    def keeps(self, document: Document) -> bool:
        """Whether `find` would find the document by its hash; it counts as used then."""
        return document.hash in self._trusted or self._cache.get(document.hash) is document

    def _trust(self, name: str, text: str) -> None:
        try:
            digest = _digest(text)
            self._trusted[name] = self._trusted[digest] = self._read(text, digest)
        except Refused as refused:
            raise TrustedUnusable(f"The trusted document {name} is not good: {refused}") from None

    def _read(self, text: str, digest: str) -> Document:
        """Parse, measure, validate: in the order of what they cost, each bounding the next (traps 2 and 3)."""
        limits = self._limits
        try:
            node = parse(text, max_lexical_tokens=limits.max_tokens, max_comments=limits.max_tokens)
        except GraphQLSyntaxError as error:
            too_long = _TOO_LONG.search(error.message)
            if too_long:
                message = f"The document has more than {limits.max_tokens} {too_long[1]}."
                complaint = OperationTooComplex(limits.max_tokens + 1, limits.max_tokens, too_long[1], message)
                raise _refused(complaint) from None
            raise Refused([error], ErrorCode.GRAPHQL_PARSE_FAILED) from None
        measures, prices = self._meter.measure(node)
        refusals = [refusal for measured in measures.values() for refusal in self._meter.refusals(measured)]
        if refusals:
            raise _refused(*refusals)
        errors = validate(self._schema, node, _RULES, limits.max_errors, hide_suggestions=True)
        if errors:
            raise Refused(errors, ErrorCode.GRAPHQL_VALIDATION_FAILED)
        definitions = [found for found in node.definitions if isinstance(found, OperationDefinitionNode)]
        fragments = [found for found in node.definitions if isinstance(found, FragmentDefinitionNode)]
        operations: dict[str | None, Operation] = {}
        document = Document(text, digest, node, {one.name.value: one for one in fragments}, operations, prices)
        for found in definitions:
            name = found.name.value if found.name else None
            signatures = [get_variable_signature(self._schema, one) for one in found.variable_definitions or ()]
            variables = [
                (one, coercion_of(one.type))
                for one in signatures
                if isinstance(one, GraphQLVariableSignature)  # validation saw to it
            ]
            deciding = _deciding(found, fragments)
            operations[name] = Operation(document, found, name, found.operation, measures[name], variables, deciding)
        return document


def _digest(text: str) -> str:
    """The SHA-256 of a text in hex. Raises `Refused` for what is no text."""
    try:
        return hashlib.sha256(text.encode()).hexdigest()
    except UnicodeEncodeError:
        raise _refused(ParseFailed("The document holds half of a surrogate pair, which is no text.")) from None


def _refused(*errors: GraphQLError) -> Refused:
    return Refused(errors, ErrorCode.GRAPHQL_VALIDATION_FAILED)
