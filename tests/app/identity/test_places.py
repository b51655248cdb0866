"""Projects and environments change (TEN-2, TEN-3, PII-4, DEP-1)."""

import asyncio
from typing import Any

import pytest

from app.commands import Done, Refusal, Refused
from app.running import run
from app.sealing import Seal
from app.unit_of_work import PermissionDenied
from db.enums import InstanceState, LifecycleState, TaskStatus
from db.ids import new_id
from db.models import AgentInstance, AgentTemplate, AgentVersion, Environment, Project, Task
from tests.app.identity.stage import SECRET, Stage, bootstrap


async def agent(stage: Stage, state: InstanceState, project_id: Any = None) -> AgentInstance:
    """An agent, put there without the commands."""
    template = AgentTemplate(id=new_id(), name="T")
    version = AgentVersion(
        id=new_id(),
        template_id=template.id,
        version_number=1,
        version_label="1.0.0",
        genome={"toolManifest": []},
        genome_hash="0" * 64,
        lifecycle_state=LifecycleState.APPROVED,
    )
    instance = AgentInstance(
        id=new_id(),
        version_id=version.id,
        project_id=project_id or stage.project_id,
        environment_id=stage.environment_ids[0],
        state=state,
    )
    await stage.add(template, version, instance)
    return instance


async def test_ten_3_a_project_changes(stage: Stage) -> None:
    """TEN-3. What is given changes, what is left out stays, and the audit log has both."""
    project = await stage.done(
        "update_project",
        project_id=stage.project_id,
        name="Lab",
        swarm_config={"maxAgents": 3, "autoScale": False},
        default_environment_id=stage.environment_ids[1],
    )
    assert (project.name, project.slug, project.swarm_config["maxAgents"]) == ("Lab", "default", 3)
    (note,) = await stage.audits("PROJECT_UPDATED")
    assert note.resource_id == str(stage.project_id)
    assert note.metadata_["before"]["name"] == "Default"  # type: ignore[index]
    assert note.metadata_["after"]["defaultEnvironmentId"] == str(stage.environment_ids[1])  # type: ignore[index]
    await stage.done("update_project", project_id=stage.project_id, name="Lab")
    assert len(await stage.audits("PROJECT_UPDATED")) == 1


async def test_pii_4_a_webhook_secret_is_sealed(stage: Stage) -> None:
    """PII-4. Encrypted in the row, absent from the journal; without a key it is refused, and not stored."""
    given: dict[str, Any] = {"project_id": stage.project_id, "github_webhook_secret": "hush"}
    refused = await run(stage.database, await stage.actor(stage.people[0]), "update_project", given)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "github_webhook_secret")
    assert (await stage.one(Project, stage.project_id)).github_webhook_secret is None
    await stage.done("update_project", **given)
    stored = (await stage.one(Project, stage.project_id)).github_webhook_secret
    assert stored.startswith("v1.")
    assert Seal(SECRET).unseal(stored) == "hush"
    (note,) = await stage.audits("PROJECT_UPDATED")
    assert "hush" not in str(note.metadata_)
    assert stored not in str(note.metadata_)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": None}, "name"),
        ({"swarm_config": {"maxAgents": -1, "autoScale": True}}, "swarm_config"),
        ({"swarm_config": {"maxAgents": 1}}, "swarm_config"),
        ({"swarm_config": []}, "swarm_config"),
        ({"policy_defaults": {"budgetDefaults": 3}}, "policy_defaults"),
    ],
)
async def test_decision_18_bad_values(stage: Stage, given: dict[str, Any], field: str) -> None:
    """Decision 18. What has a shape is checked against it."""
    refused = await stage.refused("update_project", project_id=stage.project_id, **given)
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, field)


async def test_ten_3_a_project_with_agents_stays(stage: Stage) -> None:
    """TEN-3. As long as one of its agents is not retired."""
    await agent(stage, InstanceState.RETIRED)
    running = await agent(stage, InstanceState.PAUSED)
    refused = await stage.refused("delete_project", project_id=stage.project_id)
    assert (refused.code, refused.message) == (
        Refusal.DEPENDENCY_NOT_MET,
        "1 of its agents are not retired. Retire them first.",
    )
    await stage.done("transition_instance", instance_id=running.id, to=InstanceState.RETIRED)
    gone = await stage.done("delete_project", project_id=stage.project_id, reason="over")
    assert gone.deleted_at is not None
    (note,) = await stage.audits("PROJECT_DELETED")
    assert note.description == "over"
    assert (await stage.refused("delete_project", project_id=stage.project_id)).code is Refusal.CONFLICT


async def test_ten_3_a_project_with_tasks_stays(stage: Stage) -> None:
    """TEN-3. Even where they are done: what was worked on is kept."""
    await stage.add(
        Task(
            id=new_id(), project_id=stage.project_id, title="T", type="ENGINEERING", status=TaskStatus.DONE, priority=2
        )
    )
    refused = await stage.refused("delete_project", project_id=stage.project_id)
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "project_id")


async def test_ten_3_no_new_agent_in_a_deleted_project(stage: Stage) -> None:
    """TEN-3. An agent and a deletion at the same moment: one of them is refused."""
    version_id = (await agent(stage, InstanceState.RETIRED)).version_id
    gone = await stage.done("create_project", name="Gone", slug="gone")
    await stage.done("delete_project", project_id=gone.id)
    late = {"version_id": version_id, "project_id": gone.id, "environment_id": stage.environment_ids[0]}
    assert (await stage.refused("create_instance", **late)).code is Refusal.DEPENDENCY_NOT_MET
    for _ in range(3):
        project = await stage.done("create_project", name="P", slug=f"p-{new_id().hex}")
        place = {"project_id": project.id, "environment_id": stage.environment_ids[0]}
        made, gone = await asyncio.gather(
            stage.do("create_instance", version_id=version_id, **place),
            stage.do("delete_project", project_id=project.id),
        )
        assert isinstance(made, Done) is not isinstance(gone, Done)


async def test_ten_3_an_environment_changes(stage: Stage) -> None:
    """TEN-3, DEP-1. Production may begin, and never ends."""
    dev, _, prod = stage.environment_ids
    changed = await stage.done(
        "update_environment", environment_id=dev, is_production=True, config={"requireActiveDeployment": True}
    )
    assert (changed.is_production, changed.slug) == (True, "dev")
    refused = await stage.refused("update_environment", environment_id=prod, is_production=False)
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, "is_production")
    refused = await stage.refused("update_environment", environment_id=prod, config={"requireActiveDeployment": "yes"})
    assert refused.field == "config"
    (note,) = await stage.audits("ENVIRONMENT_UPDATED")
    assert note.metadata_["after"]["isProduction"] is True  # type: ignore[index]


async def test_ten_2_max_environments(stage: Stage) -> None:
    """TEN-2. The limit of the tenant holds for two at once."""
    small = await bootstrap(stage.database, max_environments=4)
    both = await asyncio.gather(
        *(small.do("create_environment", name="E", slug=f"e{n}", is_production=False) for n in range(2))
    )
    assert sorted(type(one).__name__ for one in both) == ["Done", "Refused"]
    assert len(await small.rows(Environment)) == 4


async def test_permissions_are_needed(stage: Stage) -> None:
    """SM-4, RBAC-7. A Viewer changes and deletes nothing."""
    viewer = await stage.newcomer("Vic", "Viewer")
    for name, given in (
        ("update_project", {"project_id": stage.project_id, "name": "X"}),
        ("delete_project", {"project_id": stage.project_id}),
        ("update_environment", {"environment_id": stage.environment_ids[0], "name": "X"}),
    ):
        with pytest.raises(PermissionDenied):
            await stage.do(name, by=viewer, **given)
