"""Spans as they come in, and what each means: the GenAI semantic conventions of OpenTelemetry, pure.

https://opentelemetry.io/docs/specs/semconv/gen-ai/ (in development; names of older versions are understood too)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec

from app.execution.rules.prices import Tokens
from db.ids import EPOCH

INSTANCE: Final = "fleetgraph.instance.id"
"""Resource or span attribute that names the agent instance, by its global id; an agent's own token needs none."""
TASK: Final = "fleetgraph.task.id"
"""Resource or span attribute that names the task, by its global id."""
_ERROR: Final = 2
_LONGEST: Final = 10_000
_MODEL_OPERATIONS: Final = frozenset({"chat", "generate_content", "text_completion", "embeddings"})
_HEX: Final = re.compile(r"[0-9a-fA-F]+")


class Meaning(Enum):
    """What a span reports."""

    AGENT = "agent"
    """`invoke_agent`: a run."""
    TOOL = "tool"
    """`execute_tool`: a tool call."""
    MODEL = "model"
    """`chat` and its like: what a model cost."""
    STEP = "step"
    """Another GenAI operation: a step of a run."""
    OTHER = "other"
    """No GenAI span: taken, and used for nothing but to find whose part another span is."""


class NotTraces(ValueError):
    """The body holds no traces; the text says why."""


@dataclass(frozen=True, slots=True)
class Span:
    """One span, with what is known of its agent from the resource."""

    trace: str
    """32 hex digits."""
    id: str
    """16 hex digits."""
    parent: str | None
    name: str
    start: datetime
    end: datetime
    error: str | None
    """Why it failed; None where it did not."""
    attributes: Mapping[str, Any]
    """The resource's and its own; its own count."""

    @property
    def meaning(self) -> Meaning:
        """By `gen_ai.operation.name`, or by what else a span of older instrumentation has."""
        operation = self.attributes.get("gen_ai.operation.name")
        if operation == "invoke_agent":
            return Meaning.AGENT
        if operation == "execute_tool" or (operation is None and "gen_ai.tool.name" in self.attributes):
            return Meaning.TOOL
        if operation in _MODEL_OPERATIONS or (operation is None and "gen_ai.request.model" in self.attributes):
            return Meaning.MODEL
        return Meaning.OTHER if operation is None else Meaning.STEP

    def text(self, *names: str) -> str | None:
        """The first of these attributes that is a text with something in it."""
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, str) and value.strip():
                return value.strip().replace("\0", "")[:_LONGEST]
        return None

    @property
    def model(self) -> str | None:
        """The model that was asked; the one that answered where nothing else is said."""
        return self.text("gen_ai.request.model", "gen_ai.response.model")

    @property
    def tokens(self) -> Tokens:
        """What was used. The conventions count what came from a cache among the tokens sent; here it is apart."""
        read = self._count("gen_ai.usage.cache_read.input_tokens")
        written = self._count("gen_ai.usage.cache_creation.input_tokens")
        sent = self._count("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
        answered = self._count("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
        return Tokens(max(0, sent - read - written), answered, read, written)

    def _count(self, *names: str) -> int:
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**31 - 1:
                return value
        return 0

    @property
    def milliseconds(self) -> int:
        """How long it took."""
        return max(0, int((self.end - self.start) / timedelta(milliseconds=1)))

    def names(self, attribute: str, prefix: str) -> UUID | None:
        """The row that an attribute names by its global id; None where it names none."""
        value = self.attributes.get(attribute)
        if isinstance(value, str) and value.startswith(f"{prefix}_") and re.fullmatch(r"[0-9a-f]{32}", value[4:]):
            return UUID(hex=value[4:])
        return None

    @property
    def instance_id(self) -> UUID | None:
        """The agent, where an attribute names it."""
        named = (self.names(name, "ins") for name in (INSTANCE, "gen_ai.agent.id", "service.instance.id"))
        return next((row_id for row_id in named if row_id is not None), None)


def decode_protobuf(body: bytes) -> tuple[list[Span], int]:
    """The spans of a request, and how many had no proper ids or times. Raises NotTraces."""
    from google.protobuf.message import DecodeError  # megabytes that only who is sent traces needs
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, ValueError, RecursionError):
        raise NotTraces("The body is no protobuf of an ExportTraceServiceRequest.") from None
    spans: list[Span] = []
    rejected = 0
    for group in request.resource_spans:
        resource = _pairs(group.resource.attributes)
        for scope in group.scope_spans:
            for one in scope.spans:
                span = _span(
                    one.trace_id.hex(),
                    one.span_id.hex(),
                    one.parent_span_id.hex(),
                    one.name,
                    one.start_time_unix_nano,
                    one.end_time_unix_nano,
                    (one.status.code, one.status.message),
                    {**resource, **_pairs(one.attributes)},
                )
                rejected += span is None
                spans += [] if span is None else [span]
    return spans, rejected


def _pairs(attributes: Any) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: _plain(one.value) for one in value.kvlist_value.values}
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return None if kind is None else getattr(value, kind)


_json: Final = msgspec.json.Decoder(dict[str, Any])


def decode_json(body: bytes) -> tuple[list[Span], int]:
    """The same of OTLP's JSON: ids in hex, 64-bit numbers as text, names in lowerCamelCase. Raises NotTraces."""
    try:
        request = _json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotTraces("The body is no JSON object of an ExportTraceServiceRequest.") from None
    spans: list[Span] = []
    rejected = 0
    try:
        for group in _list(request, "resourceSpans"):
            resource = _json_pairs(_list(group.get("resource") or {}, "attributes"))
            for scope in _list(group, "scopeSpans"):
                for one in _list(scope, "spans"):
                    span = _json_span(one, resource)
                    rejected += span is None
                    spans += [] if span is None else [span]
    except (AttributeError, TypeError):
        raise NotTraces("The body is JSON, and no ExportTraceServiceRequest.") from None
    return spans, rejected


def _list(source: Mapping[str, Any], name: str) -> Sequence[Any]:
    found = source.get(name)
    if not isinstance(found, list | None):
        raise TypeError(name)
    return found or ()


def _json_span(one: Any, resource: Mapping[str, Any]) -> Span | None:
    status = one.get("status") or {}
    try:
        return _span(
            str(one.get("traceId", "")).lower(),
            str(one.get("spanId", "")).lower(),
            str(one.get("parentSpanId") or "").lower(),
            str(one.get("name", "")),
            int(one.get("startTimeUnixNano", 0)),
            int(one.get("endTimeUnixNano", 0)),
            (status.get("code", 0), str(status.get("message") or "")),
            {**resource, **_json_pairs(_list(one, "attributes"))},
        )
    except ValueError:
        return None


def _json_pairs(pairs: Sequence[Any]) -> dict[str, Any]:
    return {str(pair.get("key")): _json_plain(pair.get("value") or {}) for pair in pairs}


def _json_plain(value: Any) -> Any:
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_json_plain(one) for one in _list(value["arrayValue"] or {}, "values")]
    if "kvlistValue" in value:
        return _json_pairs(_list(value["kvlistValue"] or {}, "values"))
    return next(
        (value[name] for name in ("stringValue", "boolValue", "doubleValue", "bytesValue") if name in value), None
    )


def _span(
    trace: str,
    span_id: str,
    parent: str,
    name: str,
    start: int,
    end: int,
    status: tuple[Any, str],
    attributes: Mapping[str, Any],
) -> Span | None:
    """None where ids or times are none (the protocol forbids ids of zeros)."""
    if not (_is_id(trace, 32) and _is_id(span_id, 16)):
        return None
    try:
        began, ended = (EPOCH + timedelta(milliseconds=moment // 1_000_000) for moment in (start, end))
    except OverflowError:
        return None
    code, message = status
    error = None
    if code in (_ERROR, "STATUS_CODE_ERROR"):
        kind = attributes.get("error.type")
        error = (message or (kind if isinstance(kind, str) else "") or "failed").replace("\0", "")[:_LONGEST]
    return Span(
        trace,
        span_id,
        parent if _is_id(parent, 16) else None,
        name.replace("\0", "")[:_LONGEST],
        began,
        max(began, ended),
        error,
        attributes,
    )


def _is_id(text: str, digits: int) -> bool:
    return len(text) == digits and _HEX.fullmatch(text) is not None and text.strip("0") != ""


def in_whole_traces(spans: Sequence[Span], most: int) -> Iterator[list[Span]]:
    """The spans in lists of about so many, those of one trace together."""
    traces: dict[str, list[Span]] = {}
    for span in spans:
        traces.setdefault(span.trace, []).append(span)
    batch: list[Span] = []
    for trace in traces.values():
        if batch and len(batch) + len(trace) > most:
            yield batch
            batch = []
        batch += trace
    if batch:
        yield batch
