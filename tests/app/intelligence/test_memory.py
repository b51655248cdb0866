"""What agents keep, and what is put down about them (DOC-1, LRN-2)."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from sqlalchemy import select

from app.auth.scope import Assignment, Grants
from app.commands import Done, Refusal, Refused
from app.intelligence.memory import LONGEST_DOCUMENT, remember
from app.intelligence.rules import MOST_EVIDENCE
from app.unit_of_work import PermissionDenied, UnitOfWork
from db import models
from db.enums import AgentDocumentType, InstanceState, OpEventType
from db.ids import new_id
from tests.app.execution.desk import Desk, desk, registry

__all__ = ["desk", "registry"]

NOTE: dict[str, Any] = {"type": AgentDocumentType.WORKING_MD, "content": "Now: the roof."}
STRONG = {"pattern": "strength:DOCS", "confidence": 0.5}


async def all_of(desk: Desk, model: Any) -> list[Any]:
    async with desk.tenant.database.transaction(desk.human) as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def test_doc_1_a_document_is_set_again(desk: Desk) -> None:
    """One of each type: the second takes the first one's place, with its id; each is an event without the text."""
    agent = await desk.agent()
    ids = []
    for content in ("one", "two"):
        outcome = await desk.do(
            "set_document",
            desk.as_agent(agent),
            instance_id=agent.id,
            type=AgentDocumentType.DAILY_NOTE,
            content=content,
        )
        assert isinstance(outcome, Done)
        ids.append(outcome.row_id)
    await desk.do("set_document", instance_id=agent.id, **NOTE, metadata={"by": "Ada"})
    note, work = await all_of(desk, models.AgentDocument)
    assert ids == [note.id, note.id]
    assert (note.content, note.project_id, work.content) == ("two", agent.project_id, "Now: the roof.")
    assert note.updated_at > note.created_at
    events = await all_of(desk, models.OpEvent)
    assert [one.type for one in events] == [OpEventType.DECISION_MADE] * 3
    assert events[0].payload["characters"] == 3
    assert "one" not in str(events[0].payload)


async def test_doc_1_notes_stay_unless_they_are_given(desk: Desk) -> None:
    """`metadata` left out."""
    agent = await desk.agent()
    given: list[dict[str, Any]] = [{"metadata": {"n": 1}}, {}]
    for extra in given:
        await desk.do("set_document", instance_id=agent.id, **NOTE, **extra)
    (found,) = await all_of(desk, models.AgentDocument)
    assert found.metadata_ == {"n": 1}


async def test_doc_1_ten_at_once_leave_one(desk: Desk) -> None:
    """Whoever commits last is what stays; a loop's note beside them is in it or was before it."""
    agent = await desk.agent()
    outcomes = await asyncio.gather(
        *(desk.do("set_document", desk.as_agent(agent), instance_id=agent.id, **NOTE) for _ in range(10))
    )
    assert {type(one) for one in outcomes} == {Done}
    assert len(await all_of(desk, models.AgentDocument)) == 1


@pytest.mark.parametrize(("name", "said"), [("set_document", NOTE), ("record_pattern", STRONG)])
async def test_rbac_11_an_agent_writes_its_own_alone(desk: Desk, other_tenant: Any, name: str, said: Any) -> None:
    """Nor does a QUARANTINED one; a person needs the permission where the agent is; a foreign agent is not found."""
    one, other = await desk.agents(2)
    with pytest.raises(PermissionDenied):
        await desk.do(name, desk.as_agent(one), instance_id=other.id, **said)
    held = await desk.agent(state=InstanceState.QUARANTINED)
    with pytest.raises(PermissionDenied):
        await desk.do(name, desk.as_agent(held), instance_id=held.id, **said)
    elsewhere = Grants.union(
        [Assignment(frozenset({"write:intelligence"}), project_id=new_id())], desk.tenant.project.created_at
    )
    for actor in (desk.tenant.actor("read:intelligence"), desk.tenant.actor(grants=elsewhere)):
        with pytest.raises(PermissionDenied):
            await desk.do(name, actor, instance_id=one.id, **said)
    refused = await desk.do(name, instance_id=new_id(), **said)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == (Refusal.NOT_FOUND, "instance_id")
    assert await all_of(desk, models.AgentDocument) == []
    assert await all_of(desk, models.AgentPattern) == []


async def test_lrn_2_a_pattern_that_is_seen_again(desk: Desk) -> None:
    """0.4 of the old and 0.6 of the new confidence; the evidence adds up; when it was found stays."""
    agent = await desk.agent()
    said = [(0.5, ["a", "b"]), (1.0, ["b", "c"]), (0.0, None)]
    for confidence, evidence in said:
        outcome = await desk.do(
            "record_pattern",
            desk.as_agent(agent),
            instance_id=agent.id,
            pattern=" strength: DOCS ",
            confidence=confidence,
            evidence=evidence,
        )
        assert isinstance(outcome, Done), outcome
    (found,) = await all_of(desk, models.AgentPattern)
    assert (found.pattern, found.version_id, found.project_id) == ("strength:DOCS", agent.version_id, agent.project_id)
    assert found.confidence == pytest.approx(0.4 * (0.4 * 0.5 + 0.6 * 1.0))
    assert sorted(found.evidence) == ["a", "b", "c"]
    assert found.last_seen_at > found.discovered_at


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"pattern": "strong:DOCS"}, "pattern"),
        ({"pattern": "strength:"}, "pattern"),
        ({"pattern": "strength"}, "pattern"),
        ({"pattern": "Strength:DOCS"}, "pattern"),
        ({"pattern": f"weakness:{'x' * 201}"}, "pattern"),
        ({"confidence": 1.0001}, "confidence"),
        ({"confidence": -0.1}, "confidence"),
        ({"confidence": math.nan}, "confidence"),
        ({"evidence": ["a", " "]}, "evidence"),
        ({"evidence": [str(n) for n in range(MOST_EVIDENCE + 1)]}, "evidence"),
    ],
)
async def test_lrn_2_what_is_no_pattern(desk: Desk, wrong: dict[str, Any], field: str) -> None:
    """The form of its name, 0 to 1, no blank evidence."""
    agent = await desk.agent()
    refused = await desk.do("record_pattern", instance_id=agent.id, **{**STRONG, **wrong})
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, field)


async def test_loop_2_a_full_memory_loses_its_oldest(desk: Desk) -> None:
    """What the gateway adds stays within the length of a document."""
    agent = await desk.agent()
    for text in ("old" * (LONGEST_DOCUMENT // 3), "new" * 10):
        async with desk.tenant.database.transaction(desk.human) as session:
            await remember(UnitOfWork(session, desk.human, "write:intelligence"), {agent.id: text})
    (found,) = await all_of(desk, models.AgentDocument)
    assert len(found.content) == LONGEST_DOCUMENT
    assert found.content.endswith("\n\n" + "new" * 10)
