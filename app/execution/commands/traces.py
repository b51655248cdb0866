"""Traces of instrumented agents: what was done becomes runs, tool calls and cost ticks (OPE-1, RUN-3, RUN-4, COST-1).

A span is sent when it has ended, so the parts of a run come before the run. Whose part a span is says its nearest
ancestor that is an agent's. Where that one is not known yet, its parent stands in for it: the run begins with its first
part, and the agent's own span ends it. Where the parent turns out to be no agent's, the run is handed on to whoever is
next above it. An agent within an agent ends before the outer one, and so may come before it: its run notes of which it
is part, and has that one's task once it is known. Every span is known by its ids, so that one that is sent again
changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import GIVEN_EVENTS, Done, command
from app.execution.ending import Subjects, Usage, charge, charge_task, end_run, tokens_of
from app.execution.rules.prices import Tokens
from app.governance.policy.risk import preview, redact
from app.governance.rules import base_risk
from app.registry.commands.children import parent_task_of
from app.telemetry.facts import Facts, Names, fill, statement
from app.telemetry.judging import PERMISSION
from app.telemetry.otlp.admission import Admission, agent_of
from app.telemetry.otlp.spans import TASK, Meaning, Span
from app.telemetry.wire import SentEvent
from app.unit_of_work import UnitOfWork
from db.enums import AuditSeverity, OpEventType, RunStatus, ToolCallStatus
from db.ids import first_id_at, id_from, milliseconds
from db.logs import resent_id
from db.models import AgentInstance, AgentVersion, OpEvent, Run, Task, ToolCall

_UNKNOWN_MODEL: Final = "unknown"
_LONGEST_NAME: Final = 200
_PART_OF: Final = "partOf"
"""What a run without a task notes: the key of the run which it is part of, as far as that is known."""


@command(PERMISSION, GIVEN_EVENTS, callers=(ActorKind.OPERATOR, ActorKind.INSTANCE))
async def record_spans(uow: UnitOfWork, spans: Sequence[Span]) -> Done:
    """OPE-1, COST-1. Take what spans report: runs of agents, their tool calls, what models cost, each once.

    What was done is recorded, whether or not it was allowed; budgets that it used up stop the agent (BUD-4).
    """
    facts = Facts(Names())
    named = {(agent_of(uow.actor, span), span.names(TASK, "tsk")) for span in spans}
    asked = [
        SentEvent(type=OpEventType.RUN_STEP, instance_id=instance_id, task_id=task_id) for instance_id, task_id in named
    ]
    fill(facts, (await uow.session.execute(statement(facts, uow.actor, asked))).all())
    admission = Admission(uow, facts)
    taken = [span for span in spans if admission.admits(span)]
    if denied := admission.denied:
        uow.audit(
            "ACCESS_DENIED",
            severity=AuditSeverity.WARNING,
            resource=PERMISSION,
            description=f"{denied} spans were refused for want of {PERMISSION}.",
            metadata={"spans": denied},
        )
    by_agent: dict[UUID, list[Span]] = {}
    for span in taken:
        by_agent.setdefault(agent_of(uow.actor, span) or uow.actor.id, []).append(span)
    for instance in await uow.lock_all(AgentInstance, list(by_agent)):
        await _Recorder(uow, instance, facts.tasks, by_agent[instance.id]).record()
    return Done(None, {"rejected": admission.rejected, "reasons": sorted(admission.reasons)})


class _Recorder:
    """Records the spans of one agent, whose row is locked."""

    def __init__(
        self, uow: UnitOfWork, instance: AgentInstance, projects: Mapping[UUID, UUID], spans: Sequence[Span]
    ) -> None:
        self._uow = uow
        self._instance = instance
        self._projects = projects
        self._spans = sorted(spans, key=lambda span: span.start)
        self._by_id = {(span.trace, span.id): span for span in spans}
        self._runs: dict[str, Run] = {}
        """By key."""
        self._tasks: dict[UUID, Task] = {}
        self._started_for: UUID | None = None
        """The task that a child was started for (POL-9)."""
        self._template_id: UUID | None = None

    async def record(self) -> None:
        """Everything, in the order in which a run goes: it begins, does its parts, ends."""
        await self._load()
        self._hand_on()
        for span in self._spans:
            self._begin(span)
        await self._uow.session.flush()
        of = {meaning: [span for span in self._spans if span.meaning is meaning] for meaning in Meaning}
        await self._record_calls(of[Meaning.TOOL])
        await self._record_ticks(of[Meaning.MODEL])
        for span in of[Meaning.STEP]:
            self._record_step(span)
        for span in self._spans:
            await self._end(span)
        await self._tell_waiting()
        await self._uow.session.flush()

    # --- whose part a span is --------------------------------------------------------------------------------------

    def _key(self, trace: str, span_id: str) -> str:
        """Idempotency key of the run that a span stands for; another agent in the same trace has runs of its own."""
        return f"otel:{trace}:{span_id}:{self._instance.id.hex}"

    def _owner(self, span: Span) -> str | None:
        """Key of the run that a span is part of; None where it has no ancestor."""
        trace, parent = span.trace, span.parent
        seen = {span.id}
        while parent is not None and parent not in seen:
            seen.add(parent)
            above = self._by_id.get((trace, parent))
            if above is None or above.meaning is Meaning.AGENT:
                return self._key(trace, parent)
            parent = above.parent
        return None

    def _run_of(self, span: Span) -> Run:
        """The run that a span is, or is part of; there is one once it has begun."""
        own = self._key(span.trace, span.id)
        key = own if span.meaning is Meaning.AGENT else self._owner(span) or own
        return self._runs[key]

    async def _load(self) -> None:
        keys = {self._key(span.trace, span.id) for span in self._spans}
        keys |= {key for span in self._spans if (key := self._owner(span)) is not None}
        where = Run.tenant_id == self._uow.tenant_id, Run.idempotency_key.in_(keys)
        found = (await self._uow.session.execute(select(Run.id, Run.task_id).where(*where))).all()
        started_for = parent_task_of(self._instance)
        wanted = {started_for, *(row.task_id for row in found), *map(self._task_of, self._spans)}
        locked_tasks = await self._uow.lock_all(Task, [task_id for task_id in wanted if task_id is not None])
        self._tasks = {task.id: task for task in locked_tasks if task.project_id == self._instance.project_id}
        self._started_for = started_for if started_for in self._tasks else None
        locked = await self._uow.lock_all(Run, [row.id for row in found])
        self._runs = {run.idempotency_key: run for run in locked}
        version = await self._uow.get(AgentVersion, self._instance.version_id)
        self._template_id = None if version is None else version.template_id

    def _task_of(self, span: Span) -> UUID | None:
        """The task that a span names, where it is of the agent's project."""
        task_id = span.names(TASK, "tsk")
        return task_id if task_id and self._projects.get(task_id) == self._instance.project_id else None

    def _task_above(self, span: Span) -> UUID | None:
        """The task that an agent's span is for where it names none: that of the run which it is part of, else the one
        that its agent was started for (POL-9)."""
        owner = self._owner(span) if span.meaning is Meaning.AGENT else None
        above = None if owner is None else self._runs.get(owner)
        return self._started_for if above is None or above.task_id is None else above.task_id

    def _hand_on(self) -> None:
        """A run that stood in for a span which is no agent's goes to whoever is above that span."""
        for span in self._spans:
            own = self._key(span.trace, span.id)
            if span.meaning is Meaning.AGENT or own not in self._runs:
                continue
            owner = self._owner(span)
            if owner is not None and owner != own and owner not in self._runs:
                run = self._runs[owner] = self._runs.pop(own)
                run.idempotency_key = owner

    # --- runs ------------------------------------------------------------------------------------------------------

    def _begin(self, span: Span) -> None:
        """The run that a span stands for, or is part of, unless it has begun."""
        own = self._key(span.trace, span.id)
        match span.meaning:
            case Meaning.AGENT:
                key = own
            case Meaning.TOOL | Meaning.MODEL:
                key = self._owner(span) or own
            case _:
                return
        if key in self._runs:
            return
        instance = self._instance
        task_id = self._task_of(span) or self._task_above(span)
        model = (span.model or _UNKNOWN_MODEL)[:_LONGEST_NAME]
        session_key = (span.text("gen_ai.conversation.id") or span.trace)[:_LONGEST_NAME]
        run = self._uow.add(
            Run(
                id=id_from(span.start, _digest(key)),
                project_id=instance.project_id,
                idempotency_key=key,
                instance_id=instance.id,
                version_id=instance.version_id,
                template_id=self._template_id,
                task_id=task_id,
                session_key=session_key,
                started_at=span.start,
                model=model,
                status=RunStatus.RUNNING,
                input_tokens=0,
                output_tokens=0,
                cost_usd=Decimal(0),
                metadata_={"traceId": span.trace},
            )
        )
        self._runs[key] = run
        self._emit(
            OpEventType.RUN_STARTED,
            run,
            span.start,
            f"{key}:started",
            model=model,
            payload={"model": model, "sessionKey": session_key, "traceId": span.trace},
        )

    async def _end(self, span: Span) -> None:
        """The run that a span stands for has ended with it."""
        run = self._runs.get(self._key(span.trace, span.id))
        if run is None or run.status is not RunStatus.RUNNING:
            return
        if span.meaning is Meaning.AGENT:
            run.started_at = min(run.started_at, span.start)
            run.session_key = (span.text("gen_ai.conversation.id") or run.session_key)[:_LONGEST_NAME]
            run.model = (span.model or run.model)[:_LONGEST_NAME]
            name = span.text("gen_ai.agent.name")
            await self._assign(run, self._task_of(span) or run.task_id or self._task_above(span))
            part_of = self._owner(span) if run.task_id is None else None
            noted = {"agentName": name, _PART_OF: part_of}
            run.metadata_ = {**(run.metadata_ or {}), **{key: value for key, value in noted.items() if value}}
        # An agent's span may have the sum of its models' tokens; that counts where none of those were traced.
        usage = Usage(span.tokens, None, span.model) if span.tokens and not tokens_of(run) else None
        about = Subjects(self._instance, self._task(run), run)
        error = None if span.error is None else redact(span.error)
        status = RunStatus.COMPLETED if error is None else RunStatus.FAILED
        await end_run(self._uow, about, status, error=error, usage=usage, at=span.end)

    async def _assign(self, run: Run, task_id: UUID | None) -> None:
        """The task of a run that began with its parts, as its agent's own span has it."""
        if task_id is None or run.task_id == task_id:
            return
        run.task_id = task_id
        calls = select(ToolCall.id).where(ToolCall.tenant_id == self._uow.tenant_id, ToolCall.run_id == run.id)
        for call in await self._uow.lock_all(ToolCall, list(await self._uow.session.scalars(calls))):
            call.task_id = task_id

    async def _tell_waiting(self) -> None:
        """OPE-1. The runs that came before the one which they are part of, and have no task, have its task now."""
        known = {self._key(span.trace, span.id): span for span in self._spans}
        keys = set(known)
        while keys:
            waiting, keys = await self._waiting_for(keys), set()
            for run in waiting:
                noted = run.metadata_ or {}
                span = known.get(noted[_PART_OF])
                above = noted[_PART_OF] if span is None or span.meaning is Meaning.AGENT else self._owner(span)
                if above is None:
                    continue
                whole = self._runs.get(above)
                if whole is None or whole.task_id is None:
                    run.metadata_ = {**noted, _PART_OF: above}
                    continue
                await self._assign(run, whole.task_id)
                if (task := self._task(run)) is not None:
                    await charge_task(self._uow, task, run)
                self._runs[run.idempotency_key] = run
                keys.add(run.idempotency_key)  # others may have waited for it

    async def _waiting_for(self, keys: Collection[str]) -> list[Run]:
        # Who is part of a span begins within it, and a run's id has the time at which it began.
        first, last = min(span.start for span in self._spans), max(span.end for span in self._spans)
        found = await self._uow.session.scalars(
            select(Run.id).where(
                Run.tenant_id == self._uow.tenant_id,
                Run.instance_id == self._instance.id,
                Run.id.between(first_id_at(first), id_from(last, -1)),
                Run.task_id.is_(None),
                Run.metadata_[_PART_OF].astext.in_(keys),
            )
        )
        return await self._uow.lock_all(Run, list(found))

    def _task(self, run: Run) -> Task | None:
        return None if run.task_id is None else self._tasks.get(run.task_id)

    # --- what runs do ----------------------------------------------------------------------------------------------

    async def _record_calls(self, spans: Sequence[Span]) -> None:
        """Tool calls, with the events of their beginning and end."""
        ids = {id_from(span.start, _digest(self._key(span.trace, span.id))): span for span in spans}
        where = ToolCall.tenant_id == self._uow.tenant_id, ToolCall.id.in_(list(ids))
        known = set(await self._uow.session.scalars(select(ToolCall.id).where(*where))) if ids else set()
        for call_id, span in ids.items():
            if call_id not in known:
                self._record_call(call_id, span)

    def _record_call(self, call_id: UUID, span: Span) -> None:
        run, key = self._run_of(span), self._key(span.trace, span.id)
        name = (span.text("gen_ai.tool.name") or span.name.removeprefix("execute_tool ") or "unknown")[:_LONGEST_NAME]
        error = None if span.error is None else redact(span.error)
        status = ToolCallStatus.SUCCESS if error is None else ToolCallStatus.FAILED
        sent, given = (span.attributes.get(f"gen_ai.tool.call.{part}") for part in ("arguments", "result"))
        self._uow.add(
            ToolCall(
                id=call_id,
                project_id=run.project_id,
                run_id=run.id,
                instance_id=run.instance_id,
                version_id=run.version_id,
                task_id=run.task_id,
                tool_name=name,
                risk_level=base_risk(name),
                input_preview=None if sent is None else preview(sent).replace("\0", ""),
                output_preview=None if given is None else preview(given).replace("\0", ""),
                started_at=span.start,
                ended_at=span.end,
                duration_ms=span.milliseconds,
                status=status,
                error=error,
                retry_count=0,
                metadata_={"traceId": span.trace, "spanId": span.id},
            )
        )
        about: dict[str, Any] = {"tool_call_id": call_id}
        self._emit(
            OpEventType.TOOL_CALL_STARTED, run, span.start, f"{key}:started", payload={"toolName": name}, **about
        )
        payload = {
            "toolName": name,
            "status": status.value,
            "durationMs": span.milliseconds,
            **({"error": error} if error else {}),
        }
        self._emit(OpEventType.TOOL_CALL_COMPLETED, run, span.end, f"{key}:ended", payload=payload, **about)

    async def _record_ticks(self, spans: Sequence[Span]) -> None:
        """COST-1. What each answer of a model cost, once; the sum is the run's."""
        ids = {}
        for span in spans:
            event_id = f"{self._key(span.trace, span.id)}:tick"
            row_id = resent_id(self._uow.tenant_id, self._instance.id, event_id, milliseconds(span.end))
            ids[row_id] = event_id, span
        where = OpEvent.tenant_id == self._uow.tenant_id, OpEvent.id.in_(list(ids))
        known = set(await self._uow.session.scalars(select(OpEvent.id).where(*where))) if ids else set()
        for row_id, (event_id, span) in ids.items():
            if row_id in known:
                continue
            run = self._run_of(span)
            so_far, added = tokens_of(run), span.tokens
            total = Tokens(
                so_far.input + added.input,
                so_far.output + added.output,
                so_far.cache_read + added.cache_read,
                so_far.cache_write + added.cache_write,
            )
            before, usage = run.cost_usd, Usage(total, None, span.model)
            about = Subjects(self._instance, self._task(run), run)
            await charge(self._uow, about, usage, event_id=event_id, at=span.end)
            if run.status is not RunStatus.RUNNING and about.task is not None:
                about.task.actual_cost += run.cost_usd - before  # the run's end has charged what came before

    def _record_step(self, span: Span) -> None:
        owner = self._owner(span)
        run = None if owner is None else self._runs.get(owner)
        kind = span.text("gen_ai.operation.name")
        payload = {"kind": kind, "summary": span.name, "durationMs": span.milliseconds, "error": span.error}
        self._emit(
            OpEventType.RUN_STEP,
            run,
            span.end,
            f"{self._key(span.trace, span.id)}:step",
            payload={name: value for name, value in payload.items() if value is not None},
        )

    def _emit(self, kind: OpEventType, run: Run | None, at: datetime, event_id: str, **columns: Any) -> None:
        instance = self._instance
        self._uow.emit(
            kind,
            timestamp=at,
            event_id=event_id,
            instance_id=instance.id,
            version_id=instance.version_id,
            project_id=instance.project_id,
            task_id=None if run is None else run.task_id,
            run_id=None if run is None else run.id,
            **columns,
        )


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[-10:])
