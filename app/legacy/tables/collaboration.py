"""What agents have learnt, how they talk, and the workflows they run (MIG-8)."""

from typing import Any, Final
from uuid import UUID

from app.legacy.document import Doc, Rejection, items, mapping, words
from app.legacy.mapping import Later, Mapping, Rule, at, person, project_of_work, renamed
from app.legacy.tables.execution import version_of_agent
from app.legacy.world import World
from db.models import (
    AgentDocument,
    AgentPattern,
    AgentPerformance,
    Meeting,
    TelegraphMessage,
    TelegraphThread,
    VoiceArtifact,
    Workflow,
    WorkflowRun,
)

PERFORMANCE: Final = Mapping(
    "agentPerformance",
    AgentPerformance,
    {"version_id": version_of_agent, "project_id": project_of_work(), "last_updated_at": at("lastUpdatedAt")},
)
PATTERNS: Final = Mapping(
    "agentPatterns",
    AgentPattern,
    {
        "version_id": version_of_agent,
        "project_id": project_of_work(),
        "discovered_at": at("discoveredAt"),
        "last_seen_at": at("lastSeenAt", "discoveredAt"),
    },
)
DOCUMENTS: Final = Mapping("agentDocuments", AgentDocument, {"project_id": project_of_work()})


def _participants(doc: Doc, world: World) -> list[str]:
    """Who takes part: ids of agents and people become those of their rows, names from outside stay (MIG-8)."""
    return [words("participants", world.named(one)) for one in items("participants", doc.take("participants") or [])]


THREADS: Final = Mapping("telegraphThreads", TelegraphThread, {"participants": _participants})


def _sender(doc: Doc, world: World) -> UUID | None:
    found = world.keys.find("AgentInstance", doc.peek("senderInstanceId") or doc.peek("senderId"))
    if found is not None:
        doc.take("senderInstanceId", "senderId")
    return found


def _sending_person(doc: Doc, world: World) -> UUID | None:
    return None if _sender(doc, world) else person("senderId")(doc, world)


TELEGRAPH: Final = Mapping(
    "telegraphMessages",
    TelegraphMessage,
    {"sender_instance_id": _sender, "sender_operator_id": _sending_person},
    later=(Later("reply_to_id", "TelegraphMessage", ("replyToId",)),),
)


def _named_in(name: str, *keys: str) -> Rule:
    """A list of objects in which these keys hold ids: of agents, tasks or people, where they resolve (MIG-8)."""

    def rule(doc: Doc, world: World) -> list[dict[str, Any]] | None:
        value = doc.take(name)
        if value is None:
            return None
        entries = [dict(mapping(name, one)) for one in items(name, value)]
        for entry in entries:
            for one in keys:
                if one in entry:
                    entry[one] = world.named(entry[one])
        return entries

    return rule


def _host(doc: Doc, world: World) -> UUID | None:
    """The host, where the text is an agent's id; else it stays in the metadata (decision 13)."""
    found = world.keys.find("AgentInstance", doc.peek("hostInstanceId") or doc.peek("hostAgentId"))
    if found is not None:
        doc.take("hostInstanceId", "hostAgentId")
    return found


MEETINGS: Final = Mapping(
    "meetings",
    Meeting,
    {
        "host_instance_id": _host,
        "participants": _named_in("participants", "agentId"),
        "action_items": _named_in("actionItems", "assigneeAgentId", "taskId"),
        "scheduled_at": at("scheduledAt"),
    },
)


def _speaker(doc: Doc, world: World) -> UUID | None:
    found = world.keys.find("AgentInstance", doc.peek("instanceId") or doc.peek("agentId"))
    if found is not None:
        doc.take("instanceId", "agentId")
    return found


VOICE: Final = Mapping("voiceArtifacts", VoiceArtifact, {"instance_id": _speaker})

WORKFLOWS: Final = Mapping(
    "workflows", Workflow, {"workflow_key": renamed("workflowKey", "workflowId")}, own_created=True
)


def _workflow(doc: Doc, world: World) -> UUID:
    """The definition, which a run names by its key (decision 22)."""
    named = words("workflowId", doc.take("workflowId"))
    found = world.keys.find("Workflow", named) or world.workflow_keys.get(named)
    if found is None:
        raise Rejection("workflowId", named, "is the key of no workflow of the snapshot or the tenant")
    return found


def _steps(doc: Doc, world: World) -> list[dict[str, Any]]:
    """The steps, with instances in place of agents (MIG-8)."""
    steps = []
    for given in items("steps", doc.take("steps") or []):
        step = dict(mapping("steps", given))
        agent = step.pop("agentId", None)
        if agent is not None:
            step.setdefault("instanceId", agent)
        for name in ("instanceId", "taskId"):
            if name in step:
                step[name] = world.named(step[name])
        steps.append(step)
    return steps


WORKFLOW_RUNS: Final = Mapping(
    "workflowRuns",
    WorkflowRun,
    {
        "run_key": renamed("runKey", "runId"),
        "workflow_id": _workflow,
        "steps": _steps,
        "started_at": at("startedAt"),
    },
)
