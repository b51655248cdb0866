"""Tasks and what is done for them (MIG-8)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final
from uuid import UUID

from app.legacy.document import Doc, dollars, items, member, words
from app.legacy.mapping import Later, Listed, Mapping, Rule, at, instance, key, person, project_of_work
from app.legacy.world import World
from db.enums import ReviewType
from db.models import ExecutionRequest, Message, Review, Run, Task, TaskAssignee, TaskDependency, ToolCall


def unless_blank(name: str) -> Rule:
    """A text that is something; a key that is blank is no key."""

    def rule(doc: Doc, world: World) -> str | None:
        value = doc.take(name)
        return words(name, value).strip() or None if value is not None else None

    return rule


def budget(name: str) -> Rule:
    """A budget in US dollars; the former system's 0 meant none (BUD-5)."""

    def rule(doc: Doc, world: World) -> Decimal | None:
        value = doc.take(name)
        return (dollars(name, value) or None) if value is not None else None

    return rule


def _assignees(doc: Doc, world: World) -> Sequence[UUID]:
    """The instances, where both lists are there and of one length; else those of the agents (MIG-8)."""
    agents = items("assigneeIds", doc.take("assigneeIds") or [])
    instances = items("assigneeInstanceIds", doc.take("assigneeInstanceIds") or [])
    chosen, name = (instances, "assigneeInstanceIds") if len(instances) >= len(agents) else (agents, "assigneeIds")
    return [world.keys.need("AgentInstance", name, one) for one in chosen]


TASKS: Final = Mapping(
    "tasks",
    Task,
    {
        "project_id": project_of_work(),
        "idempotency_key": unless_blank("idempotencyKey"),
        "budget_allocated": budget("budgetAllocated"),
        "reviewer_instance_id": instance("reviewerInstanceId", "reviewerId", "reviewerAgentId"),
        "creator_operator_id": person("creatorOperatorId", "creatorUserId", "createdByUserId"),
    },
    listed=(Listed(TaskAssignee, "task_id", "instance_id", _assignees),),
    later=(Later("parent_task_id", "Task", ("parentTaskId",)),),
)

DEPENDENCIES: Final = Mapping("taskDependencies", TaskDependency)

MESSAGES: Final = Mapping(
    "messages",
    Message,
    {
        "project_id": project_of_work(),
        "idempotency_key": unless_blank("idempotencyKey"),
        "author_operator_id": person("authorUserId"),
    },
    later=(Later("reply_to_id", "Message", ("replyToId",)),),
)


def _run_key(doc: Doc, world: World) -> str:
    """The key of the start; a run without one gets one, since the column needs it (decision 33)."""
    return unless_blank("idempotencyKey")(doc, world) or f"legacy:{doc.id}"


def version_of_agent(doc: Doc, world: World) -> UUID | None:
    """The version that ran; where the document names none, that of its instance (MIG-8)."""
    named = key("AgentVersion", "versionId")(doc, world)
    if named is not None:
        return UUID(str(named))
    agent = world.keys.find("AgentInstance", doc.peek("instanceId") or doc.peek("agentId"))
    if agent is None and (run := world.keys.find("Run", doc.peek("runId"))) is not None:
        agent = world.facts.run_instance.get(run)
    return world.facts.instance_version.get(agent) if agent else None


def _template_of_version(doc: Doc, world: World) -> UUID | None:
    named = key("AgentTemplate", "templateId")(doc, world)
    version = version_of_agent(doc, world)
    return named or (world.facts.version_template.get(version) if version else None)


RUNS: Final = Mapping(
    "runs",
    Run,
    {
        "project_id": project_of_work(),
        "idempotency_key": _run_key,
        "version_id": version_of_agent,
        "template_id": _template_of_version,
        "started_at": at("startedAt"),
        "budget_allocated": budget("budgetAllocated"),
    },
)


def _caller(doc: Doc, world: World) -> UUID | None:
    """The agent that called the tool; where the document names none, that of its run (MIG-8)."""
    named = instance("instanceId", "agentId")(doc, world)
    run = world.keys.find("Run", doc.peek("runId"))
    return named or (world.facts.run_instance.get(run) if run else None)


TOOL_CALLS: Final = Mapping(
    "toolCalls",
    ToolCall,
    {
        "project_id": project_of_work(),
        "instance_id": _caller,
        "version_id": version_of_agent,
        "started_at": at("startedAt"),
    },
)

EXECUTION_REQUESTS: Final = Mapping(
    "executionRequests",
    ExecutionRequest,
    {
        "project_id": project_of_work(),
        "requested_by_instance_id": instance("requestedByInstanceId", "requestedBy", "requestedByAgentId"),
        "requested_at": at("requestedAt"),
    },
)

_REVIEW_TYPES: Final = {"REQUEST_CHANGES": ReviewType.CHANGESET, "REJECT": ReviewType.REFUTE}


def _review_type(doc: Doc, world: World) -> ReviewType:
    given = doc.take("type")
    if isinstance(given, str) and given in _REVIEW_TYPES:
        return _REVIEW_TYPES[given]
    return ReviewType(member("type", given, ReviewType))


def _responder(doc: Doc, world: World) -> UUID | None:
    named = doc.peek("responseByInstanceId") or doc.peek("responseBy")
    found = world.keys.find("AgentInstance", named)
    if found is not None:
        doc.take("responseByInstanceId", "responseBy")
    return found


def _response_person(doc: Doc, world: World) -> UUID | None:
    return None if _responder(doc, world) else person("responseBy", "responseByUserId")(doc, world)


def _review_target(doc: Doc, world: World) -> str | None:
    value = doc.take("targetId")
    return None if value is None else words("targetId", world.named(value))


REVIEWS: Final = Mapping(
    "reviews",
    Review,
    {
        "type": _review_type,
        "project_id": project_of_work(),
        "reviewer_operator_id": person("reviewerUserId"),
        "response_by_instance_id": _responder,
        "response_by_operator_id": _response_person,
        "target_id": _review_target,
    },
)
