"""Op events that come in by the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.auth.actor import ActorKind
from app.commands import GIVEN_EVENTS, Done, Refusal, Refused, command
from app.telemetry.facts import Facts, Names, fill, statement
from app.telemetry.judging import ACCEPTED, DUPLICATE, PERMISSION, REFUSED, Judged, judge
from app.telemetry.signs import note_signs
from app.telemetry.wire import REFUSALS, SentEvent
from app.unit_of_work import PermissionDenied, UnitOfWork
from db.enums import AuditSeverity
from db.json_text import dump_json

_NAMES = {ACCEPTED: "ACCEPTED", DUPLICATE: "DUPLICATE", REFUSED: "REFUSED"}


@command(PERMISSION, GIVEN_EVENTS, callers=(ActorKind.OPERATOR, ActorKind.INSTANCE))
async def record_op_events(uow: UnitOfWork, events: Sequence[Mapping[str, Any]]) -> Done:
    """OPE-1, RBAC-11. Take up to 1,000 op events, each for itself: accepted, there already, or refused and why.

    An agent sends its own. Version and project are filled in from the agent; an event with an `eventId` is stored once,
    however often it is sent. Larger amounts go to `POST /v1/op-events`.
    """
    sent = [_sent(event) for event in events]
    facts = Facts(Names())
    fill(facts, (await uow.session.execute(statement(facts, uow.actor, sent))).all())
    judged = judge(sent, facts, uow.actor, uow.now)
    _note_denials(uow, judged)
    await uow.session.flush()
    await note_signs(await uow.session.connection(), uow.tenant_id, judged.signs)
    judged.settle(await uow.append(judged.columns))
    counts = {name: judged.count(outcome) for outcome, name in _NAMES.items()}
    done = Done(
        None,
        {
            "results": [_result(judged, position) for position in range(len(judged.ids))],
            "accepted": counts["ACCEPTED"],
            "duplicates": counts["DUPLICATE"],
            "refused": counts["REFUSED"],
        },
    )
    done.refused = [
        Refused(
            REFUSALS.get(one.why, Refusal.VALIDATION_ERROR),
            one.message,
            f"events[{position}]" + (f".{one.field}" if one.field else ""),
        )
        for position, one in judged.declined.items()
    ]
    return done


def _sent(event: Mapping[str, Any]) -> SentEvent:
    given = {name: value for name, value in event.items() if value is not None}
    payload = given.pop("payload", None)
    if payload is not None:
        given["payload"] = msgspec.Raw(dump_json(payload).encode())
    return SentEvent(**given)


def _note_denials(uow: UnitOfWork, judged: Judged) -> None:
    """Raise PermissionDenied where the caller may write none of the events; where it is some, the attempt is noted."""
    if judged.denied and judged.denied == len(judged.ids):
        raise PermissionDenied(PERMISSION)
    if judged.denied:
        uow.audit(
            "ACCESS_DENIED",
            severity=AuditSeverity.WARNING,
            resource=PERMISSION,
            description=f"{judged.denied} events were refused for want of {PERMISSION}.",
            metadata={"events": judged.denied},
        )


def _result(judged: Judged, position: int) -> dict[str, Any]:
    """What became of one event, as it is kept with an idempotency key."""
    declined = judged.declined.get(position)
    row_id = judged.ids[position]
    result: dict[str, Any] = {
        "index": position,
        "status": _NAMES[judged.outcomes[position]],
        "id": None if row_id is None else row_id.hex,
    }
    if declined is not None:
        result |= {"code": declined.why.value, "message": declined.message, "field": declined.field}
    return result
