"""OpenTelemetry traces, when there is an endpoint to send them to; without one no span is ever made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Tracer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.graph.documents import Operation
from app.http.request_id import request_id

SpanFor = Callable[[Operation], AbstractContextManager[Any]]


class Tracing:
    """A tracer of the gateway's own: nothing global is set, so a host application's tracing stays its own."""

    def __init__(self, processor: SpanProcessor, service: str = "fleetgraph") -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(processor)
        self.tracer: Tracer = self._provider.get_tracer("fleetgraph")

    @classmethod
    def to(cls, endpoint: str) -> Tracing:
        """Send spans to an OTLP/HTTP collector, such as ``http://localhost:4318``, in the background."""
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        return cls(BatchSpanProcessor(exporter))

    def close(self) -> None:
        """Send what is left. Blocks for a few seconds at most."""
        self._provider.shutdown()

    @contextmanager
    def operation(self, operation: Operation) -> Iterator[None]:
        """A span around an execution: the executor's hook. The document is named by its hash, not quoted."""
        kind = operation.kind.value
        # OpenTelemetry's semantic conventions for GraphQL, but for the name: those of clients are unbounded.
        attributes = {
            "graphql.operation.type": kind,
            "graphql.operation.name": operation.name or "",
            "graphql.document.hash": f"sha256:{operation.document.hash}",
        }
        with self.tracer.start_as_current_span(f"graphql.{kind}", attributes=attributes):
            yield

    def requests(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application: a span for each HTTP request, within the caller's trace if it sends ``traceparent``."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            token = attach(extract(Headers(scope=scope)))
            try:
                with self.tracer.start_as_current_span(
                    f"{scope['method']} {scope['path'] if scope['path'] == '/graphql' else '…'}",
                    kind=SpanKind.SERVER,
                    attributes={
                        "http.request.method": scope["method"],
                        "url.path": scope["path"],
                        "fleetgraph.request_id": request_id(scope),
                    },
                ) as span:

                    async def send_and_note(message: Message) -> None:
                        if message["type"] == "http.response.start":
                            span.set_attribute("http.response.status_code", message["status"])
                        await send(message)

                    await app(scope, receive, send_and_note)
            finally:
                detach(token)

        return traced
