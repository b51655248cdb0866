"""An agent works through the gateway with a token of its own, and reaches nobody else's work."""

from __future__ import annotations

from typing import Any

from app.graph.ids import global_id
from db import models
from db.enums import InstanceState, LifecycleState, TaskStatus, TaskType
from db.ids import new_id
from tests.app.execution.desk import CHECKED, DELIVERABLE, PLAN
from tests.governed import GENOME, GENOME_HASH
from tests.serving import Served

STEP = """mutation ($input: TaskTransitionInput!) { taskTransition(input: $input) {
    task { status } idempotencyHit userErrors { code field message } } }"""
JOURNAL = """query ($id: ID!) { task(id: $id) { changeRecords(first: 50) { edges { node {
    type actor { __typename } afterState } } } } }"""
CLAIM = """mutation ($input: TaskClaimInput!) { taskClaim(input: $input) {
    task { id title status assignees { name } } userErrors { code message } } }"""
WORK = """mutation ($input: TaskWorkSetInput!) { taskWorkSet(input: $input) {
    task { workPlan { bullets } } userErrors { code field } } }"""
ISSUE = "mutation ($input: AgentInstanceTokenIssueInput!) { agentInstanceTokenIssue(input: $input) { token } }"


async def agents(served: Served, *projects: models.Project) -> list[tuple[models.AgentInstance, str]]:
    """An agent of tier 2 in each of the projects, and its token."""
    tenant = served.tenant
    template = models.AgentTemplate(id=new_id(), name="Researcher")
    version = models.AgentVersion(
        id=new_id(),
        template_id=template.id,
        genome=GENOME,
        genome_hash=GENOME_HASH,
        lifecycle_state=LifecycleState.APPROVED,
    )
    envelope = models.PolicyEnvelope(name="t", attached_to_tenant=True, autonomy_tier=2, version=1, active=True)
    made = [
        models.AgentInstance(
            id=new_id(),
            name=f"Scout {at}",
            version_id=version.id,
            project_id=project.id,
            environment_id=tenant.environment.id,
            state=InstanceState.ACTIVE,
        )
        for at, project in enumerate(projects)
    ]
    await tenant.add(template)
    await tenant.add(version, envelope)
    await tenant.add(*made)
    found = []
    for one in made:
        body = await served.post(ISSUE, input={"instanceId": global_id("ins", one.id)})
        found.append((one, body["data"]["agentInstanceTokenIssue"]["token"]))
    return found


async def step(served: Served, token: str | None, task_id: str, to: str, **more: Any) -> Any:
    body = await served.post(STEP, token, input={"taskId": task_id, "to": to, **more})
    assert "errors" not in body, body
    return body["data"]["taskTransition"]


async def test_an_agent_claims_plans_works_and_submits_and_a_person_accepts(served: Served) -> None:
    """Every record names the agent; what it may not do is refused with what it may."""
    ((agent, token),) = await agents(served, served.tenant.project)
    task = models.Task(id=new_id(), project_id=served.tenant.project.id, title="Count", type=TaskType.OPS, priority=1)
    await served.tenant.add(task)
    body = await served.post(CLAIM, token, input={"instanceId": global_id("ins", agent.id)})
    claimed = body["data"]["taskClaim"]["task"]
    assert (claimed["title"], claimed["status"], claimed["assignees"]) == ("Count", "ASSIGNED", [{"name": "Scout 0"}])
    early = await step(served, token, claimed["id"], "IN_PROGRESS")
    assert early["userErrors"][0]["field"] == ["input", "workPlan"]
    body = await served.post(WORK, token, input={"taskId": claimed["id"], "workPlan": PLAN})
    assert body["data"]["taskWorkSet"]["task"]["workPlan"]["bullets"] == PLAN["bullets"]
    begun = await step(served, token, claimed["id"], "IN_PROGRESS", idempotencyKey="begin")
    again = await step(served, token, claimed["id"], "IN_PROGRESS", idempotencyKey="begin")
    assert (begun["idempotencyHit"], again["idempotencyHit"]) == (False, True)
    never = await step(served, token, claimed["id"], "DONE")
    assert never["userErrors"][0]["code"] == "INVALID_STATE_TRANSITION"
    work = {"deliverable": DELIVERABLE, "reviewChecklist": CHECKED}
    assert (await step(served, token, claimed["id"], "REVIEW", **work))["task"] == {"status": "REVIEW"}
    done = await step(served, None, claimed["id"], "DONE")
    assert done["task"] == {"status": "DONE"}
    body = await served.post(JOURNAL, id=claimed["id"])
    records = [edge["node"] for edge in body["data"]["task"]["changeRecords"]["edges"]]
    assert [(one["type"], one["actor"]["__typename"]) for one in records] == [
        ("TASK_ASSIGNED", "AgentInstance"),
        ("TASK_TRANSITIONED", "AgentInstance"),
        ("TASK_TRANSITIONED", "AgentInstance"),
        ("TASK_TRANSITIONED", "AgentInstance"),
        ("TASK_TRANSITIONED", "Operator"),
    ]


async def test_an_agents_token_reaches_no_other_agent_and_no_other_project(served: Served) -> None:
    """Not as another agent, not another agent's task, not another project's."""
    far = models.Project(id=new_id(), name="Far", slug="far")
    await served.tenant.add(far)
    (one, token), (two, _), (_, away) = await agents(served, served.tenant.project, served.tenant.project, far)
    task = models.Task(
        id=new_id(),
        project_id=served.tenant.project.id,
        title="Count",
        type=TaskType.OPS,
        status=TaskStatus.ASSIGNED,
        work_plan=PLAN,
    )
    free = models.Task(id=new_id(), project_id=served.tenant.project.id, title="Free", type=TaskType.OPS)
    await served.tenant.add(task, free)
    await served.tenant.add(models.TaskAssignee(task_id=task.id, instance_id=two.id))
    theirs, open_one = global_id("tsk", task.id), global_id("tsk", free.id)
    other = await step(served, token, theirs, "IN_PROGRESS")
    assert other["userErrors"][0]["code"] == "DEPENDENCY_NOT_MET"
    for to, task_id in (("IN_PROGRESS", theirs), ("ASSIGNED", open_one)):
        assert (await step(served, away, task_id, to))["userErrors"][0]["code"] == "NOT_FOUND"
    as_other = await served.post(CLAIM, token, input={"instanceId": global_id("ins", two.id), "taskId": open_one})
    assert as_other["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    beyond = await served.post(CLAIM, away, input={"instanceId": global_id("ins", one.id), "taskId": open_one})
    assert beyond["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    for name, given in (
        ("taskUpdate", {"taskId": open_one, "title": "Mine"}),
        ("taskDecompose", {"taskId": open_one}),
        ("taskAutoAssign", {"taskId": open_one}),
    ):
        kind = f"{name[0].upper()}{name[1:]}Input"
        query = f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ userErrors {{ code }} }} }}"
        body = await served.post(query, token, input=given)
        assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN", name
    create = "mutation ($input: TaskCreateInput!) { taskCreate(input: $input) { task { id } userErrors { code } } }"
    elsewhere = {"projectId": global_id("prj", far.id), "title": "X", "type": "OPS"}
    made = (await served.post(create, token, input=elsewhere))["data"]["taskCreate"]
    assert made == {"task": None, "userErrors": [{"code": "NOT_FOUND"}]}
