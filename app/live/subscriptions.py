"""The root fields of `Subscription`, and the types of what they say."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import strawberry

from app.auth.actor import Actor
from app.auth.permissions import READ_PERMISSION
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import argument, described_enum, graph_field, list_of, optional
from app.graph.ids import global_id, parse_id_of
from app.graph.inputs import given, input_type
from app.graph.making import create_type
from app.graph.pricing import LIST_SIZE
from app.graph.registry import ENTITIES, TYPES, Named
from app.graph.roots import entity_of
from app.graph.scalars import Seq
from app.live.field import LiveField, live_field
from app.live.filters import chosen
from app.live.log_group import LogSource
from app.live.pulse_group import PulseSource
from app.live.queue_group import MOST, QueueSource, QueueStep
from app.live.row_group import RowSource
from db.base import ENTITY_NAMES
from db.bell import Feed
from db.enums import ChangeRecordType, InstanceState, OpEventType, RiskLevel

MOST_IDS: Final = 1_000
"""Most rows that one `entityChanged` names."""
SHORTEST_WINDOW: Final = 1
LONGEST_WINDOW: Final = 3_600
_PULSE_TYPES: Final = ("OpEvent", "Run", "AgentInstance")
_METRICS: Final = "read:metrics"

# --- Filters --------------------------------------------------------------------------------------------------------


@input_type
class OpEventStreamFilter:
    """Which events of the log: those that meet every condition given. A list means any of its entries."""

    types: list[OpEventType] | None = given("Events of these types.")
    instance_ids: list[str] | None = given("Events of these agents.", id_of="AgentInstance")
    version_ids: list[str] | None = given("Events of agents that ran these versions.", id_of="AgentVersion")
    project_ids: list[str] | None = given("Events of work on these projects.", id_of="Project")
    task_ids: list[str] | None = given("Events of work on these tasks.", id_of="Task")
    run_ids: list[str] | None = given("Events of these runs.", id_of="Run")


@input_type
class ChangeRecordStreamFilter:
    """Which changes of the log: those that meet every condition given. A list means any of its entries."""

    types: list[ChangeRecordType] | None = given("Changes of these types.")
    project_ids: list[str] | None = given("Changes that belong to these projects.", id_of="Project")
    instance_ids: list[str] | None = given("Changes that are about these agents.", id_of="AgentInstance")
    version_ids: list[str] | None = given("Changes that are about these versions.", id_of="AgentVersion")


@input_type
class ApprovalQueueFilter:
    """Which requests: those that meet every condition given. A list means any of its entries."""

    risk_levels: list[RiskLevel] | None = given("Requests of these risks.")
    request_types: list[str] | None = given("Requests for these things, such as `TOOL_EXECUTION`.")
    project_ids: list[str] | None = given("Requests that belong to these projects.", id_of="Project")
    requester_instance_ids: list[str] | None = given("Requests that these agents made.", id_of="AgentInstance")


_EVENT_COLUMNS: Final = {
    "types": "type",
    "instance_ids": "instance_id",
    "version_ids": "version_id",
    "project_ids": "project_id",
    "task_ids": "task_id",
    "run_ids": "run_id",
}
_CHANGE_COLUMNS: Final = {
    "types": "type",
    "project_ids": "project_id",
    "instance_ids": "instance_id",
    "version_ids": "version_id",
}
_QUEUE_COLUMNS: Final = {
    "risk_levels": "risk_level",
    "request_types": "request_type",
    "project_ids": "project_id",
    "requester_instance_ids": "requester_instance_id",
}

# --- What the fields say ---------------------------------------------------------------------------------------------

QueueStep.__doc__ = "What happened to the approval queue."
_STEPS: Final = {
    QueueStep.SNAPSHOT: "The queue as it is: the first message of every stream.",
    QueueStep.REQUESTED: "A request was made.",
    QueueStep.VOTED: "A vote was cast, and more are needed (APR-2).",
    QueueStep.ESCALATED: "A request was raised to more people (APR-8).",
    QueueStep.DECIDED: "A request was approved or denied.",
    QueueStep.EXPIRED: "Nobody decided in time (APR-7).",
    QueueStep.CANCELED: "A request was withdrawn (APR-9).",
}
_STEP: Final = described_enum(QueueStep)
_STEP.__strawberry_definition__.name = "ApprovalQueueStep"  # type: ignore[attr-defined]
for _value in _STEP.__strawberry_definition__.values:  # type: ignore[attr-defined]
    _value.description = _STEPS[QueueStep[_value.name]]

_queue = graph_field(
    "queue",
    optional(list_of(Named("ApprovalRecord"))),
    f"With SNAPSHOT: the open requests, at most {MOST}. RED first; within a colour what is due soonest, then the"
    " oldest. Null with every other step.",
    lambda event, _info: event.queue,
)
_queue.metadata = MappingProxyType({LIST_SIZE: 50})

TYPES["ApprovalQueueChange"] = create_type(
    "ApprovalQueueChange",
    [
        graph_field("step", _STEP, "What happened.", lambda event, _info: event.step.value),
        graph_field(
            "approval",
            optional(Named("ApprovalRecord")),
            "The request that it happened to, as it is now; null with SNAPSHOT.",
            lambda event, _info: event.approval,
        ),
        graph_field(
            "pending_count", int, "Open requests in the queue after this step.", lambda event, _info: event.count
        ),
        graph_field(
            "place",
            optional(int),
            "Place of the request in the queue's order, from 0; null once it is no longer open, and with SNAPSHOT.",
            lambda event, _info: event.place,
        ),
        _queue,
    ],
    description="One step of the approval queue, or, first of all, the queue as it is.",
)

WATCHABLE: Final = tuple(name for name in ENTITY_NAMES if name not in ("ChangeRecord", "OpEvent"))
"""Types whose rows can be watched: all but the two logs, which have fields of their own."""
_make_enum: Any = enum.Enum  # its members are known at run time alone
_NAMES: Final = described_enum(_make_enum("EntityName", {name: name for name in WATCHABLE}))
_NAMES.__strawberry_definition__.description = (  # type: ignore[attr-defined]
    "A type whose rows `entityChanged` tells of."
)

TYPES["EntityChange"] = create_type(
    "EntityChange",
    [
        graph_field("type", _NAMES, "Type of the row.", lambda event, _info: event.entity.name),
        graph_field(
            "id",
            strawberry.ID,
            "Global id of the row.",
            lambda event, _info: global_id(event.entity.prefix, event.row_id),
        ),
        graph_field("deleted", bool, "Whether the row is gone.", lambda event, _info: event.row is None),
        graph_field(
            "node", optional(Named("Node")), "The row as it is now; null once it is gone.", lambda e, _info: e.row
        ),
    ],
    description="A row that was made, changed or deleted. Changes that come close together are told once.",
)

TYPES["EventTypeRate"] = create_type(
    "EventTypeRate",
    [
        graph_field("type", described_enum(OpEventType), "The type.", lambda pair, _info: pair[0].value),
        graph_field("count", int, "Events of the type in the window.", lambda pair, _info: pair[1]),
        graph_field("per_second", float, "Events of the type a second.", lambda pair, _info: pair[2]),
    ],
    description="How often one type of event happened in a window.",
)


def _count_of(*types: OpEventType) -> Any:
    return lambda pulse, _info: sum(pulse.events.get(one, 0) for one in types)


TYPES["FleetPulse"] = create_type(
    "FleetPulse",
    [
        graph_field("since", datetime, "Begin of the window.", lambda pulse, _info: pulse.since),
        graph_field("until", datetime, "End of the window.", lambda pulse, _info: pulse.until),
        graph_field("events", int, "Op events in the window.", lambda pulse, _info: pulse.total),
        graph_field(
            "events_per_second", float, "Op events a second.", lambda pulse, _info: pulse.total / pulse.seconds
        ),
        graph_field(
            "events_by_type",
            list_of(Named("EventTypeRate")),
            "Op events by type, the most frequent first; types without events are left out.",
            lambda pulse, _info: [
                (kind, count, count / pulse.seconds)
                for kind, count in sorted(pulse.events.items(), key=lambda pair: (-pair[1], pair[0]))
            ],
        ),
        graph_field("cost_usd", float, "US dollars spent in the window.", lambda pulse, _info: pulse.cost_usd),
        graph_field("runs_started", int, "Runs that began in the window.", _count_of(OpEventType.RUN_STARTED)),
        graph_field("runs_completed", int, "Runs that ended well in the window.", _count_of(OpEventType.RUN_COMPLETED)),
        graph_field(
            "runs_failed", int, "Runs that failed or ran out of time in the window.", _count_of(OpEventType.RUN_FAILED)
        ),
        graph_field("runs_open", int, "Runs that are under way now.", lambda pulse, _info: pulse.runs_open),
        graph_field(
            "active_instances",
            int,
            "Agents that are ACTIVE now.",
            lambda pulse, _info: pulse.instances.get(InstanceState.ACTIVE, 0),
        ),
        graph_field(
            "instances",
            int,
            "Agents that are not RETIRED now.",
            lambda pulse, _info: sum(n for state, n in pulse.instances.items() if state is not InstanceState.RETIRED),
        ),
    ],
    description="Rates and totals of the fleet over the last window, of what the caller may list.",
)

# --- What the arguments ask for --------------------------------------------------------------------------------------


def _log(feed: Feed, type_name: str, input_name: str, columns: Mapping[str, str]) -> Any:
    def open_(actor: Actor, arguments: Mapping[str, Any]) -> LogSource:
        entity = ENTITIES[type_name]
        matches, conditions = chosen(entity, actor, columns, input_name, arguments.get("filter"))
        return LogSource(feed, arguments.get("after"), matches, conditions)

    return open_


def _approval_queue(actor: Actor, arguments: Mapping[str, Any]) -> QueueSource:
    entity = ENTITIES["ApprovalRecord"]
    if not actor.may_read(entity.name):  # also where the selection shows no request
        raise Forbidden(READ_PERMISSION[entity.name])
    return QueueSource(*chosen(entity, actor, _QUEUE_COLUMNS, "ApprovalQueueFilter", arguments.get("filter")))


def _entity_changed(actor: Actor, arguments: Mapping[str, Any]) -> RowSource:
    """FORBIDDEN for a type or an id of a type that the caller may not read, and for callers who may read none."""
    asked, ids = arguments.get("types"), arguments.get("ids")
    if ids is not None and len(ids) > MOST_IDS:
        raise BadUserInput(f"`ids` has {len(ids)} ids, at most {MOST_IDS} are taken.", "ids")
    named = None if ids is None else [entity_of(actor, text, f"ids[{at}]") for at, text in enumerate(ids)]
    types = None if asked is None else {str(getattr(one, "value", one)) for one in asked}
    for name in sorted(types or ()):
        if not actor.may_read(name):
            raise Forbidden(READ_PERMISSION[name])
    if types is None:
        types = {entity.name for entity, _ in named} if named is not None else set(filter(actor.may_read, WATCHABLE))
        if named is None and not types:
            raise Forbidden(READ_PERMISSION["Task"])
    for at, (entity, _) in enumerate(named or ()):
        if entity.name not in WATCHABLE:
            raise BadUserInput(f"`ids[{at}]` is a row of a log, which never changes.", f"ids[{at}]")
    project = arguments.get("projectId")
    return RowSource(
        frozenset(types),
        None if project is None else parse_id_of("prj", "Project", project, "projectId"),
        None if named is None else frozenset((entity.name, row_id) for entity, row_id in named),
    )


def _fleet_pulse(actor: Actor, arguments: Mapping[str, Any]) -> PulseSource:
    seconds = arguments["windowSeconds"]
    if not SHORTEST_WINDOW <= seconds <= LONGEST_WINDOW:
        raise BadUserInput(
            f"`windowSeconds` is {seconds}; a window has {SHORTEST_WINDOW} to {LONGEST_WINDOW} seconds.",
            "windowSeconds",
        )
    for permission in (_METRICS, *(READ_PERMISSION[name] for name in _PULSE_TYPES)):
        if not actor.can(permission):
            raise Forbidden(permission)
    return PulseSource(seconds)


_AFTER: Final = (
    "The `seq` of the last one seen: what came after it is sent first, then what is new, without a gap and without a"
    ' double. "0" is all that is kept. Without it: from now on.'
)
_STREAM: Final = "Each message has the cursor to go on from in `extensions.cursor`."

FIELDS: Final[tuple[LiveField, ...]] = (
    live_field(
        "op_events",
        Named("OpEvent"),
        f"Telemetry as it is committed, in the order of `seq`. CURSOR_EXPIRED, with the oldest number that is kept, for"
        f" an `after` that retention has overtaken. {_STREAM}",
        _log(Feed.EVENTS, "OpEvent", "OpEventStreamFilter", _EVENT_COLUMNS),
        [
            argument("filter", optional(TYPES["OpEventStreamFilter"]), "Which events; all without it."),
            argument("after", optional(Seq), _AFTER),
        ],
    ),
    live_field(
        "change_records",
        Named("ChangeRecord"),
        f"The journal of governance as it is committed, in the order of `seq`. {_STREAM}",
        _log(Feed.CHANGES, "ChangeRecord", "ChangeRecordStreamFilter", _CHANGE_COLUMNS),
        [
            argument("filter", optional(TYPES["ChangeRecordStreamFilter"]), "Which changes; all without it."),
            argument("after", optional(Seq), _AFTER),
        ],
    ),
    live_field(
        "approval_queue",
        Named("ApprovalQueueChange"),
        "The open requests for approval as they are, then each step of each of them. After a reconnect it begins with"
        " the queue as it is then.",
        _approval_queue,
        [argument("filter", optional(TYPES["ApprovalQueueFilter"]), "Which requests; all without it.")],
    ),
    live_field(
        "entity_changed",
        Named("EntityChange"),
        "Rows as they change: each as it is now, with changes that come close together told once. There is no replay:"
        " after a reconnect, read what you show anew, once the subscription stands. Of a row that is gone those hear"
        " who may read all rows of its type. What is somebody's own, as a notification is, only that person hears of.",
        _entity_changed,
        [
            argument(
                "types",
                optional(list_of(_NAMES)),
                "Rows of these types; without it, of the types of `ids`, or of all that the caller may read.",
            ),
            argument(
                "project_id",
                optional(strawberry.ID),
                "Rows of this project, and rows that belong to none, such as the tenant's emergency mode.",
            ),
            argument("ids", optional(list_of(strawberry.ID)), f"These rows only, at most {MOST_IDS}."),
        ],
    ),
    live_field(
        "fleet_pulse",
        Named("FleetPulse"),
        f"Figures of the fleet, at once and then at the end of each window. Needs `{_METRICS}` and the permissions to"
        " read op events, runs and instances.",
        _fleet_pulse,
        [
            argument(
                "window_seconds",
                int,
                f"Length of a window in seconds, {SHORTEST_WINDOW} to {LONGEST_WINDOW}.",
                10,
            )
        ],
    ),
)
"""Root fields of `Subscription`."""
