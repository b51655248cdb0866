"""What was done on the tasks: runs, their tool calls with the verdict of policy, what each cost, and how it ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from db.demo import approvals, calls, tasks
from db.demo.content import load
from db.demo.stage import SYSTEM, Stage, actor
from db.demo.tasks import Piece
from db.enums import (
    ApprovalDecision,
    MessageType,
    OpEventType,
    PolicyVerdict,
    RiskLevel,
    RunStatus,
    TaskStatus,
    ToolCallStatus,
)
from db.models import AgentInstance, AgentTemplate, AgentVersion, ApprovalRecord, Project, Run, ToolCall

_LONG: Final = timedelta(minutes=3)
"""From this length on a run tells its cost half-way, too, and looks around before it does anything."""
_MILLION: Final = Decimal(1_000_000)
_CENT_OF_A_CENT: Final = Decimal("0.0000000001")
_OPEN: Final = {ApprovalDecision.PENDING, ApprovalDecision.ESCALATED}
_LIFETIMES: Final = {ApprovalDecision.EXPIRED: timedelta(hours=1)}
_FILLERS: Final = {
    "research": ("memory_search", {"query": "what we know already"}, "4 notes"),
    "content": ("search", {"query": "house style"}, "6 passages"),
    "engineering": ("search", {"query": "who calls this"}, "9 places"),
    "support": ("search", {"query": "knowledge base"}, "5 articles"),
}
"""The look around with which a run begins, by kind of agent."""


def price(model: str, input_tokens: int, output_tokens: int, cache_read: int = 0) -> Decimal:
    """What a run's tokens cost in US dollars (COST-2)."""
    rates = load("kinds")["models"][model]
    paid = (
        Decimal(rates["input"]) * (input_tokens + Decimal(cache_read) / 10) + Decimal(rates["output"]) * output_tokens
    )
    return (paid / _MILLION).quantize(_CENT_OF_A_CENT)


def work(stage: Stage, pieces: list[Piece]) -> None:
    """Tell each piece to its end."""
    for piece in pieces:
        if piece.agent is not None and piece.story["status"] != TaskStatus.ASSIGNED:
            _work(stage, piece)


def _work(stage: Stage, piece: Piece) -> None:
    story = piece.story
    created = stage.ago(story["days"])
    began = stage.awake(created + timedelta(minutes=12))
    ended = stage.ago(story["ends"]) if "ends" in story else created + timedelta(hours=story["hours"])
    ended = min(stage.awake(ended), stage.ago(minutes=3))
    planned: list[dict[str, Any]] = list(story["calls"])
    gate = planned.pop() if "vote" in planned[-1] else None
    asked = _gate_time(stage, gate, began, ended) if gate else ended
    tasks.start(stage, piece, began)
    tasks.converse(stage, piece, began + timedelta(minutes=5), asked)
    failures = story.get("failed_runs", 0)
    plans: list[dict[str, Any] | None] = [None, *((planned * 2)[:failures] if story.get("loop") else planned)]
    for number, call in enumerate(plans):
        at = stage.awake(began + (asked - began) * (number + 0.4) / (len(plans) + 1))
        room = (asked - began) / (len(plans) + 1) * 0.5
        running = number == len(plans) - 1 and story["status"] == TaskStatus.IN_PROGRESS and gate is None
        if running:
            at = stage.ago(minutes=stage.between(2, 4))
        failed = bool(call and call.get("error") and failures)
        _run(stage, piece, at, room, call, failed=failed, running=running)
    decided = _gate(stage, piece, gate, asked) if gate else asked
    _end(stage, piece, max(ended, decided + timedelta(minutes=2)))


def _gate_time(stage: Stage, gate: dict[str, Any], began: datetime, ended: datetime) -> datetime:
    return stage.ago(minutes=gate["minutes"]) if "minutes" in gate else began + (ended - began) * 0.7


def _end(stage: Stage, piece: Piece, at: datetime) -> None:
    """From work in progress to where the story leaves the task."""
    story, boss, agent = piece.story, actor(piece.boss), actor(piece.agent)
    match TaskStatus(story["status"]):
        case TaskStatus.REVIEW:
            _cycle(stage, piece, at)
            tasks.submit(stage, piece, at)
        case TaskStatus.DONE:
            _cycle(stage, piece, at)
            tasks.submit(stage, piece, at)
            done = stage.awake(at + timedelta(minutes=stage.between(20, 90)))
            tasks.move(stage, piece, min(done, stage.ago(minutes=2)), TaskStatus.DONE, boss, reason="Accepted.")
        case TaskStatus.BLOCKED if not story.get("loop"):
            tasks.move(stage, piece, at, TaskStatus.BLOCKED, SYSTEM, reason=story["reason"])
        case TaskStatus.FAILED:
            by = boss if piece.task.status is TaskStatus.NEEDS_APPROVAL else agent
            tasks.move(stage, piece, at, TaskStatus.FAILED, by, reason=story["reason"])
            tasks.say(stage, piece, at, piece.agent, MessageType.COMMENT, f"I give this up: {story['reason']}")


def _cycle(stage: Stage, piece: Piece, at: datetime) -> None:
    """A first result that came back from review (TSK-3)."""
    if not piece.story.get("cycles"):
        return
    tasks.submit(stage, piece, at - timedelta(minutes=50))
    tasks.say(stage, piece, at - timedelta(minutes=41), piece.boss, MessageType.REVIEW, piece.story["feedback"])
    tasks.move(
        stage,
        piece,
        at - timedelta(minutes=40),
        TaskStatus.IN_PROGRESS,
        actor(piece.boss),
        reason=piece.story["feedback"],
    )


def open_run(stage: Stage, piece: Piece, at: datetime) -> Run:
    """A run of the piece's agent that has just begun, at the instance's own version (RUN-3)."""
    agent = piece.agent
    if agent is None:
        raise ValueError(f"content: «{piece.task.title}» is worked on by nobody")
    version = next(one for one in stage.all(AgentVersion) if one.id == agent.version_id)
    template = next(one for one in stage.all(AgentTemplate) if one.id == version.template_id)
    kind = stage.kinds[stage.kind_of[agent.id]]
    run_id = stage.id(at)
    run = Run(
        id=run_id,
        project_id=agent.project_id,
        idempotency_key=f"run-{run_id.hex[-12:]}",
        instance_id=agent.id,
        version_id=agent.version_id,
        template_id=template.id,
        task_id=piece.task.id,
        session_key=f"{agent.name}-{at:%Y%m%d}",
        started_at=at,
        model=version.genome["modelConfig"]["primaryModel"],
        budget_allocated=Decimal(str(kind["limits"]["perRunUsd"])),
        status=RunStatus.RUNNING,
        metadata_={"missionStatement": stage.company["tenant"]["mission"]},
        updated_at=at,
    )
    stage.add(run)
    stage.event(
        OpEventType.RUN_STARTED,
        at,
        instance=agent,
        task=piece.task,
        run=run,
        payload={"model": run.model, "sessionKey": run.session_key},
    )
    return run


def close_run(
    stage: Stage,
    piece: Piece,
    run: Run,
    at: datetime,
    *,
    error: str | None = None,
    input_tokens: int | None = None,
    over_budget: Any = None,
) -> None:
    """End the run: tokens, cost, its ticks, and what the task has cost by now (RUN-4, COST-1)."""
    run.ended_at = run.updated_at = at
    run.duration_ms = round((at - run.started_at) / timedelta(milliseconds=1))
    run.input_tokens = input_tokens or stage.between(2_400, 14_000)
    run.output_tokens = stage.between(250, 1_600)
    run.cache_read_tokens = stage.between(0, 20_000)
    run.cost_usd = price(run.model, run.input_tokens, run.output_tokens, run.cache_read_tokens)
    run.status = RunStatus.FAILED if error else RunStatus.COMPLETED
    run.error = error
    is_long = at - run.started_at > _LONG and not over_budget
    first = (run.cost_usd * Decimal("0.6")).quantize(_CENT_OF_A_CENT) if is_long else Decimal(0)
    middle = run.started_at + (at - run.started_at) / 2
    total = Decimal(0)
    for moment, delta in ((middle, first), (at, run.cost_usd - first)):
        if not delta:
            continue
        total += delta
        tokens = {"inputTokens": run.input_tokens, "outputTokens": run.output_tokens} if moment == at else {}
        more = {"budgetExceeded": True} if over_budget and moment == at else {}
        stage.event(
            OpEventType.COST_TICK,
            moment,
            instance=piece.agent,
            task=piece.task,
            run=run,
            payload={"source": "inference", "deltaUsd": float(delta), "totalUsd": float(total), **tokens, **more},
            usd=delta,
            model=run.model,
            change=over_budget if more else None,
        )
    stage.event(
        OpEventType.RUN_FAILED if error else OpEventType.RUN_COMPLETED,
        at,
        instance=piece.agent,
        task=piece.task,
        run=run,
        payload={
            "status": run.status.value,
            "costUsd": float(run.cost_usd),
            "durationMs": run.duration_ms,
            "inputTokens": run.input_tokens,
            "outputTokens": run.output_tokens,
        },
    )
    piece.task.actual_cost += run.cost_usd
    if piece.task.budget_allocated is not None:
        piece.task.budget_remaining = piece.task.budget_allocated - piece.task.actual_cost


def _run(
    stage: Stage,
    piece: Piece,
    at: datetime,
    room: timedelta,
    words: dict[str, Any] | None,
    *,
    failed: bool,
    running: bool,
) -> None:
    run = open_run(stage, piece, at)
    length = min(timedelta(seconds=stage.between(50, 340)), room)
    agent = piece.agent
    if agent is None:
        return
    stage.event(
        OpEventType.RUN_STEP,
        at + length * 0.1,
        instance=agent,
        task=piece.task,
        run=run,
        payload={"index": 1, "kind": "plan", "summary": words["tool"] if words else "Looks around."},
    )
    if words is None or length > _LONG:
        tool, given, out = _FILLERS[stage.kind_of[agent.id]]
        calls.attempt(stage, piece, run, at + length * 0.2, {"tool": tool, "in": given, "out": out}, length * 0.1)
    if words is not None:
        calls.attempt(stage, piece, run, at + length * 0.5, words, length * 0.3)
    if not running:
        error = f"{words['tool']}: {words['error']}" if failed and words else None
        close_run(stage, piece, run, at + length, error=error)


def _gate(stage: Stage, piece: Piece, words: dict[str, Any], at: datetime) -> datetime:
    """A call that asks for approval: the run waits, and so does the task; gives back when that was over (TOL-2)."""
    agent = piece.agent
    if agent is None:
        return at
    status = ApprovalDecision(words["vote"])
    run = open_run(stage, piece, at - timedelta(minutes=1))
    call = calls.new_call(stage, piece, run, at, words)
    request = _ask(stage, piece, agent, call, words, at, status)
    call.policy_result = {
        "decision": PolicyVerdict.NEEDS_APPROVAL.value,
        "reason": f"tier {stage.tier(stage.kind_of[agent.id])} asks for {call.risk_level}",
        "approvalId": str(request.id),
    }
    tasks.say(stage, piece, at, agent, MessageType.APPROVAL_REQUEST, f"Waits for approval: {request.action_summary}")
    tasks.move(stage, piece, at, TaskStatus.NEEDS_APPROVAL, SYSTEM, metadata={"approvalId": str(request.id)})
    if status in _OPEN or request.decided_at is None:
        call.status = ToolCallStatus.PENDING
        return at
    decided = request.decided_at
    if status is ApprovalDecision.APPROVED:
        tasks.move(stage, piece, decided, TaskStatus.IN_PROGRESS, SYSTEM, reason="Approved.")
        calls.execute(stage, piece, run, call, decided, decided + timedelta(seconds=40), words)
    else:
        call.status = ToolCallStatus.DENIED
        call.ended_at = call.updated_at = decided
        call.duration_ms = round((decided - at) / timedelta(milliseconds=1))
        call.error = f"The request was {status.value.lower()}."
        if status is ApprovalDecision.DENIED:
            after = decided + timedelta(minutes=3)
            tasks.move(stage, piece, after, TaskStatus.IN_PROGRESS, actor(piece.boss), reason="On with the rest.")
    close_run(stage, piece, run, decided + timedelta(minutes=1))
    return decided


def _ask(
    stage: Stage,
    piece: Piece,
    agent: AgentInstance,
    call: ToolCall,
    words: dict[str, Any],
    at: datetime,
    status: ApprovalDecision,
) -> ApprovalRecord:
    people = stage.approvers()
    turn = stage.between(0, len(people) - 1)
    count = {ApprovalDecision.APPROVED: 2 if call.risk_level is RiskLevel.RED else 1, ApprovalDecision.DENIED: 1}
    voters = [people[(turn + step) % len(people)] for step in range(words.get("votes", count.get(status, 0)))]
    version = next(one for one in stage.all(AgentVersion) if one.id == agent.version_id)
    return approvals.request(
        stage,
        "TOOL_EXECUTION",
        agent,
        at,
        call,
        summary=words.get("summary", f"{call.tool_name} for «{piece.task.title}»"),
        why=words.get("why", "The plan of the task says so; everything before it is done."),
        rollback_plan=words["plan_back"],
        risk=call.risk_level,
        status=status,
        lifetime=_LIFETIMES.get(status, timedelta(days=2)),
        decided_after=timedelta(minutes=5 if status in _OPEN else 25),
        voters=voters,
        verdict=words.get("verdict"),
        envelope=next(one for one in stage.envelopes.values() if one.id == agent.policy_envelope_id),
        project=next(one for one in stage.all(Project) if one.id == agent.project_id),
        task=piece.task,
        call=call,
        version=version,
        cost=Decimal(words.get("cost", "0")),
        payload={"toolName": call.tool_name, "args": words["in"]},
    )
