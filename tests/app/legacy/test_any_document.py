"""Whatever a document holds, it becomes a row or a rejection, and never a fault (MIG-0c)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ARRAY, Boolean, Column, Double, Integer, Numeric
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from app.legacy import importer
from app.legacy.activities import Activities
from app.legacy.agent import Agent
from app.legacy.agents import INSTANCES
from app.legacy.approvals import APPROVALS, RECORDS
from app.legacy.changes import Changes
from app.legacy.document import Doc, Rejection
from app.legacy.events import Events
from app.legacy.journal import Journal
from app.legacy.keys import REFERRED, Keys
from app.legacy.mapping import Mapping, camel
from app.legacy.people import ROLES
from app.legacy.preferences import PREFERENCES
from app.legacy.report import Report
from app.legacy.world import World
from db.base import EnumText
from db.ids import id_from

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TENANT = id_from(NOW, 1)
MAPPINGS: tuple[Mapping, ...] = (
    *importer._EARLY,
    *importer._BEFORE_APPROVALS,
    *importer._AFTER_APPROVALS,
    *(INSTANCES, APPROVALS, RECORDS, ROLES, PREFERENCES),
)
_FIELDS = (
    *(
        "action",
        "active",
        "activeProjectId",
        "agentId",
        "allowedTools",
        "assigneeIds",
        "attempts",
        "budgets",
        "channel",
    ),
    *("channels", "config", "createdBy", "decidedAt", "decidedByUserId", "decisions", "description", "entityId"),
    *("entityType", "eventType", "expiresAt", "federation", "filters", "firstDecisionAt", "fromStatus", "genome"),
    *("genomeHash", "instanceId", "ipAddress", "mentions", "metadata", "metrics", "name", "operatorId", "owners"),
    *("ownerUserId", "participants", "passRate", "payload", "permissions", "policyResult", "read", "relatedId"),
    *(
        "relatedTable",
        "responseBy",
        "role",
        "rolloutPolicy",
        "rules",
        "runId",
        "scope",
        "scopeId",
        "scopeType",
        "secret",
    ),
    *("senderId", "severity", "soulContent", "spawnLimits", "status", "steps", "targetId", "targetType", "taskId"),
    *("timestamp", "toStatus", "tokensUsed", "toolRiskMap", "triggeredBy", "type", "updatedAt", "userAgent", "userId"),
    *("version", "versionId", "workflowId", "costUsd", "spendToday", "spendResetAt", "soulVersionHash", "budgetDaily"),
)
_WORDS = (
    "known",
    "tenant",
    "RED",
    "PENDING",
    "COMPLETED",
    "TASK",
    "AGENT",
    "TASK_TRANSITION",
    "RUN_STARTED",
    "EVAL_X",
    "",
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)  # as the reader gives them; larger ones are floats
    | st.floats()
    | st.sampled_from(_WORDS)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def world() -> World:
    """A world in which the id `known` is a row of every type."""
    keys = Keys(TENANT)
    for entity in REFERRED:
        keys.add(entity, "known", TENANT)
    found = World(TENANT, NOW, Report("t", "f", NOW), keys, lambda secret: f"sealed {len(secret)}")
    found.project = found.environment = found.stand_in = TENANT
    found.facts.instance_version = found.facts.instance_project = {TENANT: TENANT}
    found.facts.version_template = found.facts.task_project = found.facts.run_instance = {TENANT: TENANT}
    return found


def fields_of(mapping: Mapping) -> list[str]:
    return sorted({*(camel(column.name) for column in mapping.target.columns), *_FIELDS})


def tried(make: Callable[[Doc], Any], table: str, fields: dict[str, Any]) -> Any:
    """What becomes of a document: None for a rejection."""
    try:
        return make(Doc(table, {"_id": "x", "_creationTime": 1_795_396_922_000, **fields}))
    except Rejection:
        return None


_SOUND: dict[str, Any] = {"entity_type": "TASK", "source_entity": "TASK", "frequency": "daily"}


def sound(mapping: Mapping, column: Column[Any]) -> Any:
    """A value that the column takes."""
    if column.name in _SOUND:
        return _SOUND[column.name]
    if "references" in column.info:
        return "known"
    match column.type:
        case EnumText() as kind:
            return next(iter(kind.enumeration)).value
        case ARRAY() as kind:
            return [next(iter(kind.item_type.enumeration)).value] if isinstance(kind.item_type, EnumText) else ["a"]
        case Numeric() | Double() | Integer():
            return 1
        case Boolean():
            return True
        case TIMESTAMP():
            return 1_795_396_922_000
        case JSONB():
            return [] if "list[" in str(mapping.model.__annotations__.get(column.key)) else {}
    return "known"


@pytest.mark.parametrize("mapping", MAPPINGS, ids=lambda mapping: mapping.table)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_mapping_takes_any_document(mapping: Mapping, data: st.DataObject) -> None:
    """A sound document with a few fields that hold anything at all."""
    columns = [column for column in mapping.target.columns if column.name != "metadata"]
    fields = {camel(column.name): sound(mapping, column) for column in columns}
    fields |= {"ownerUserId": "known", "userId": "known"}
    for name in data.draw(st.lists(st.sampled_from(fields_of(mapping)), max_size=4, unique=True)):
        fields[name] = data.draw(anything)
    around = world()
    mapped = tried(lambda doc: mapping.map(doc, around), mapping.table, fields)
    if mapped is not None:
        for column in mapping.target.columns:
            value = mapped.row[column.name]
            assert value is not None or column.nullable, column.name
            assert not isinstance(value, UUID) or value == TENANT or column.name == "id"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(fields=st.dictionaries(st.sampled_from(_FIELDS), anything, max_size=12))
def test_every_log_takes_any_document(fields: dict[str, Any]) -> None:
    around = world()
    with Journal(around) as journal:
        changes, events = Changes(around, journal), Events(around, journal)
        makers: tuple[tuple[str, Callable[[Doc], Any]], ...] = (
            ("activities", Activities(around, journal).outcome),
            ("taskTransitions", changes.transition),
            ("changeRecords", changes.record),
            ("opEvents", events.event),
            ("taskEvents", events.task_event),
            ("costLedger", events.cost),
        )
        for table, make in makers:
            tried(make, table, fields)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(fields=st.dictionaries(st.sampled_from(_FIELDS), anything, max_size=12))
def test_any_document_may_call_itself_an_agent(fields: dict[str, Any]) -> None:
    read = tried(lambda doc: Agent.read(doc, world()), "agents", {"name": "A", **fields})
    if read is not None:
        read.runtime()
        read.instance_metadata(former_name="x")
        read.template_metadata()
