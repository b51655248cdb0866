"""The types of task execution where they show more, or less, than their columns."""

import dataclasses

from app.auth.actor import Actor
from db import models
from db.enums import ActorType, LifecycleState, MessageType, TaskType
from db.ids import new_id
from tests.asking import data_of
from tests.conftest import TenantUnderTest

CONTENT = "query ($id: ID!) { message(id: $id) { content contentRedacted } }"


def _message_id(message: models.Message) -> str:
    return f"msg_{message.id.hex}"


async def _message(tenant: TenantUnderTest, safe: str | None, author: models.Operator | None = None) -> models.Message:
    task = models.Task(id=new_id(), project_id=tenant.project.id, title="Write", type=TaskType.DOCS)
    message = models.Message(
        id=new_id(),
        task_id=task.id,
        author_type=ActorType.HUMAN,
        author_operator_id=author.id if author else None,
        type=MessageType.COMMENT,
        content="the key is hunter2",
        content_redacted=safe,
    )
    await tenant.add(*([author] if author else []), task, message)
    return message


def _reader(tenant: TenantUnderTest) -> Actor:
    return tenant.actor("read:messages")


async def test_others_than_the_author_get_the_redacted_text(tenant: TenantUnderTest) -> None:
    """PII-4: the safe text is what callers without `write:tasks` see."""
    message = await _message(tenant, "the key is [REDACTED]")
    seen = await data_of(tenant, _reader(tenant), CONTENT, id=_message_id(message))
    assert seen["message"] == {"content": "the key is [REDACTED]", "contentRedacted": "the key is [REDACTED]"}


async def test_who_may_write_tasks_sees_the_original(tenant: TenantUnderTest) -> None:
    """PII-4: operators with `write:tasks` see the original."""
    message = await _message(tenant, "the key is [REDACTED]")
    writer = tenant.actor("read:messages", "write:tasks")
    assert (await data_of(tenant, writer, CONTENT, id=_message_id(message)))["message"][
        "content"
    ] == "the key is hunter2"


async def test_an_author_sees_the_original(tenant: TenantUnderTest) -> None:
    """PII-4: so does the author, whatever they may do."""
    author = models.Operator(id=new_id(), auth_id="a|1", name="Ada", email="ada@example.com")
    message = await _message(tenant, "the key is [REDACTED]", author)
    actor = dataclasses.replace(_reader(tenant), id=author.id)
    assert (await data_of(tenant, actor, CONTENT, id=_message_id(message)))["message"][
        "content"
    ] == "the key is hunter2"


async def test_a_text_without_a_safe_version_is_shown(tenant: TenantUnderTest) -> None:
    """PII-4: what nothing was taken out of is shown to everybody who may read messages."""
    message = await _message(tenant, None)
    seen = await data_of(tenant, _reader(tenant), CONTENT, id=_message_id(message))
    assert seen["message"] == {"content": "the key is hunter2", "contentRedacted": None}


async def test_assignees_are_agents_in_their_order_and_lead_back(tenant: TenantUnderTest) -> None:
    """Decision 12: a list of keys is a list of objects, and the agent has the tasks."""
    template = models.AgentTemplate(id=new_id(), name="Writers")
    version = models.AgentVersion(
        id=new_id(), template_id=template.id, genome={}, genome_hash="0" * 64, lifecycle_state=LifecycleState.APPROVED
    )
    agents = [
        models.AgentInstance(
            id=new_id(),
            version_id=version.id,
            environment_id=tenant.environment.id,
            project_id=tenant.project.id,
            name=name,
        )
        for name in ("first", "second")
    ]
    task = models.Task(
        id=new_id(),
        project_id=tenant.project.id,
        title="Write",
        type=TaskType.DOCS,
        work_plan={"bullets": ["a", "b", "c"], "estimatedCost": 1.5, "note": "kept"},
        recurrence={"frequency": "WEEKLY", "interval": 1, "endDate": "2026-03-09T00:00:00+00:00"},
    )
    await tenant.add(template, version, *agents, task)
    async with tenant.database.transaction(tenant.actor()) as session:
        for position, agent in enumerate(reversed(agents)):
            session.add(
                models.TaskAssignee(tenant_id=tenant.id, task_id=task.id, instance_id=agent.id, position=position)
            )
    seen = await data_of(
        tenant,
        tenant.actor(),
        """query ($id: ID!) { task(id: $id) {
            assignees { name tasks { totalCount edges { node { title } } } }
            workPlan { bullets estimatedCost estimatedDuration raw }
            recurrence { frequency interval daysOfWeek endDate }
        } }""",
        id=f"tsk_{task.id.hex}",
    )
    tasks = {"totalCount": 1, "edges": [{"node": {"title": "Write"}}]}
    assert seen["task"] == {
        "assignees": [{"name": "second", "tasks": tasks}, {"name": "first", "tasks": tasks}],
        "workPlan": {
            "bullets": ["a", "b", "c"],
            "estimatedCost": 1.5,
            "estimatedDuration": None,
            "raw": {"bullets": ["a", "b", "c"], "estimatedCost": 1.5, "note": "kept"},
        },
        "recurrence": {
            "frequency": "WEEKLY",
            "interval": 1,
            "daysOfWeek": None,
            "endDate": "2026-03-09T00:00:00.000Z",
        },
    }
