"""An agent at work over HTTP, with its own token: from its first heartbeat to a task that a person accepted."""

from __future__ import annotations

from typing import Any

from tests.scenarios.acme import Client, Story, deploy, promote, start

TIMELINE = """query($id: ID!) { task(id: $id) { status reviewCycles actualCost timeline(first: 200) {
    kind at summary node {
        __typename
        ... on Run { version { id genomeHash template { name } } }
        ... on ToolCall { toolName callStatus: status calledBy: version { id genomeHash template { name } } }
    } } } }"""
VERDICT = "toolCall { id status } policyDecision { decision reason approvalRecord { id } }"


async def allow_work(ada: Client, grace: Client, project: str) -> None:
    """A policy of the project: tier 2, a dollar a day, and a person's word for every file that is written."""
    made = await ada.do(
        "policyEnvelopeCreate",
        "policyEnvelope { id active }",
        name="Research",
        attachedToProjectId=project,
        active=False,
        autonomyTier=2,
        costLimits={"dailyUsd": 1.0, "perRunUsd": 0.8},
        approvalTriggers=["tool:write_file", "transition:DONE"],
    )
    policy = made["policyEnvelope"]["id"]
    asked = await ada.do(
        "approvalRequest",
        "approvalRecord { id }",
        requestType="POLICY_AUTONOMY_INCREASE",
        targetId=policy,
        riskLevel="YELLOW",
        actionSummary="Let researchers work",
        justification="they have proven themselves",
        actionPayload={"autonomyTier": 2},
    )
    await grace.do("approvalDecide", "", approvalId=asked["approvalRecord"]["id"], decision="APPROVE", reason="yes")
    await ada.do("policyEnvelopeActivate", "policyEnvelope { active }", envelopeId=policy)


async def test_the_working_life_of_an_agent(story: Story) -> None:
    """Issue 4: every step by the agent's own token, and each leads to the exact version that did it."""
    born = await story.platform().do(
        "tenantBootstrap",
        "tenantId projectId",
        name="Acme",
        slug=story.slug,
        operators=[
            {"name": name.title(), "email": f"{name}@acme.example", "authId": subject}
            for name, subject in story.subjects.items()
        ],
    )
    ada, grace = story.person("ada"), story.person("grace")
    project = born["projectId"]
    places = await ada.ask("{ environments { edges { node { id isProduction } } } }")
    production = next(e["node"]["id"] for e in places["environments"]["edges"] if e["node"]["isProduction"])
    template = (await ada.do("agentTemplateCreate", "agentTemplate { id }", name="Researcher"))["agentTemplate"]["id"]
    cases = [{"id": "answers", "name": "Answers", "input": {"question": "?"}}]
    await ada.do("evaluationSuiteCreate", "", name="Basics", testCases=cases)
    version = await promote(ada, grace, template, "v1.0.0", "p1")
    release = await deploy(ada, grace, version, production)
    await allow_work(ada, grace, project)
    worker = await start(ada, version, release, project, production)
    judge = await start(ada, version, release, project, production)
    agent, peer = [
        story.agent((await ada.do("agentInstanceTokenIssue", "token", instanceId=one))["token"])
        for one in (worker, judge)
    ]
    task = (
        await ada.do("taskCreate", "task { id status }", projectId=project, title="Owls of the region", type="DOCS")
    )["task"]["id"]

    await claim_and_begin(agent, worker, task)
    run = await work_until_the_budget_is_spent(agent, grace, worker, task)
    await go_on_and_submit(agent, grace, worker, task, run)
    await judge_twice(agent, peer, ada, task)
    await the_timeline_tells_it(ada, agent, task, version)


async def claim_and_begin(agent: Client, worker: str, task: str) -> None:
    """A heartbeat shows the work; the agent takes it, plans it, begins it."""
    beat = await agent.do("agentHeartbeat", "state mode claimableTasks { id }", instanceId=worker)
    assert (beat["state"], beat["mode"]) == ("ACTIVE", "NORMAL")
    assert [one["id"] for one in beat["claimableTasks"]] == [task]
    claimed = await agent.do("taskClaim", "task { status assignees { id } }", instanceId=worker, taskId=task)
    assert claimed["task"] == {"status": "ASSIGNED", "assignees": [{"id": worker}]}
    assert await agent.refused("taskTransition", taskId=task, to="IN_PROGRESS") == "DEPENDENCY_NOT_MET"  # no plan
    plan = {"bullets": ["read the sources", "write the list", "check it"], "estimatedCost": 0.9}
    begun = await agent.do("taskTransition", "task { status }", taskId=task, to="IN_PROGRESS", workPlan=plan)
    assert begun["task"]["status"] == "IN_PROGRESS"
    await agent.do("messagePost", "message { content }", taskId=task, type="WORK_PLAN")


async def work_until_the_budget_is_spent(agent: Client, grace: Client, worker: str, task: str) -> str:
    """A run with tool calls of all three verdicts, and a tick that passes the day's dollar; the run's id."""
    started = await agent.do(
        "runStart", "run { id version { id } }", instanceId=worker, taskId=task, model="m-1", sessionKey="s-1"
    )
    run = str(started["run"]["id"])
    allowed = await agent.do("toolCallRequest", VERDICT, runId=run, toolName="search", toolArgs={"q": "owls"})
    assert (allowed["policyDecision"]["decision"], allowed["toolCall"]["status"]) == ("ALLOW", "RUNNING")
    call = allowed["toolCall"]["id"]
    await agent.do("toolCallFinish", "toolCall { status outputPreview }", toolCallId=call, output={"found": 12})
    denied = await agent.do("toolCallRequest", VERDICT, runId=run, toolName="rm_rf", toolArgs={"path": "/"})
    assert (denied["policyDecision"]["decision"], denied["toolCall"]["status"]) == ("DENY", "DENIED")
    note = {"path": "owls.md", "content": "Tawny owl"}
    waits = await agent.do("toolCallRequest", VERDICT, runId=run, toolName="write_file", toolArgs=note)
    assert (waits["policyDecision"]["decision"], waits["toolCall"]["status"]) == ("NEEDS_APPROVAL", "PENDING")
    approval = waits["policyDecision"]["approvalRecord"]["id"]
    await grace.do("approvalDecide", "", approvalId=approval, decision="APPROVE", reason="harmless")
    written = await agent.do("toolCallFinish", "toolCall { status }", toolCallId=waits["toolCall"]["id"], output="ok")
    assert written["toolCall"]["status"] == "SUCCESS"
    spent = await agent.do(
        "runCostRecord",
        "run { costUsd instance { state pausedBy } task { status } }",
        runId=run,
        costUsd=1.1,
        inputTokens=400_000,
        outputTokens=20_000,
    )
    assert spent["run"]["instance"] == {"state": "PAUSED", "pausedBy": "BUDGET"}
    assert spent["run"]["task"]["status"] == "NEEDS_APPROVAL"
    blocked = await agent.do("toolCallRequest", VERDICT, runId=run, toolName="search")
    assert blocked["policyDecision"]["decision"] == "DENY"
    return run


async def go_on_and_submit(agent: Client, grace: Client, worker: str, task: str, run: str) -> None:
    """Somebody allows more for today; the agent and its task go on, and the work is handed in."""
    query = """{ approvalRecords(filter: {requestType: {eq: "BUDGET_OVERRIDE"}, status: {eq: PENDING}}) {
        edges { node { id } } } }"""
    (edge,) = (await grace.ask(query))["approvalRecords"]["edges"]
    await grace.do("approvalDecide", "", approvalId=edge["node"]["id"], decision="APPROVE", reason="worth it")
    resumed = await grace.ask(
        "query($a: ID!, $t: ID!) { agentInstance(id: $a) { state } task(id: $t) { status } }", a=worker, t=task
    )
    assert resumed == {"agentInstance": {"state": "ACTIVE"}, "task": {"status": "IN_PROGRESS"}}
    done = await agent.do("runComplete", "run { status costUsd task { actualCost } }", runId=run, costUsd=1.2)
    assert done["run"] == {"status": "COMPLETED", "costUsd": 1.2, "task": {"actualCost": 1.2}}
    await submit(agent, task, "Twelve owls")


async def submit(agent: Client, task: str, summary: str) -> None:
    """Hand the work in, with a self-review."""
    checklist = {"type": "docs", "items": [{"label": "sources named", "checked": True}]}
    handed = await agent.do(
        "taskTransition",
        "task { status }",
        taskId=task,
        to="REVIEW",
        deliverable={"summary": summary},
        reviewChecklist=checklist,
    )
    assert handed["task"]["status"] == "REVIEW"


async def judge_twice(agent: Client, peer: Client, ada: Client, task: str) -> None:
    """A peer asks for changes, gets them, approves; a person accepts."""
    changes = {"description": "Name the sources.", "files": [{"path": "owls.md", "action": "MODIFY"}]}
    asked = await peer.do(
        "reviewCreate",
        "review { id task { status reviewCycles } }",
        taskId=task,
        type="CHANGESET",
        summary="No sources",
        changeset=changes,
    )
    assert asked["review"]["task"] == {"status": "IN_PROGRESS", "reviewCycles": 1}
    await agent.do("reviewRespond", "", reviewId=asked["review"]["id"], to="ACCEPTED", text="Will do.")
    await submit(agent, task, "Twelve owls, with sources")
    await peer.do("reviewCreate", "", taskId=task, type="APPROVE", summary="Good work")
    assert await agent.refused("taskTransition", taskId=task, to="DONE") == "INVALID_STATE_TRANSITION"
    assert await ada.refused("taskTransition", taskId=task, to="DONE") == "DEPENDENCY_NOT_MET"
    query = """{ approvalRecords(filter: {requestType: {eq: "COMPLETE_TASK"}}) {
        edges { node { id status requesterInstance { name } } } } }"""
    (edge,) = (await ada.ask(query))["approvalRecords"]["edges"]
    await ada.do("approvalDecide", "", approvalId=edge["node"]["id"], decision="APPROVE", reason="read it")
    done = await ada.do("taskTransition", "task { status completedAt }", taskId=task, to="DONE")
    assert done["task"]["status"] == "DONE"
    assert done["task"]["completedAt"] is not None


async def the_timeline_tells_it(ada: Client, agent: Client, task: str, version: str) -> None:
    """In order, and each step of the agent leads to the exact version and its template."""
    found = (await ada.ask(TIMELINE, id=task))["task"]
    assert (found["status"], found["reviewCycles"]) == ("DONE", 1)
    entries: list[dict[str, Any]] = found["timeline"]
    assert [one["at"] for one in entries] == sorted(one["at"] for one in entries)
    told = iter(" ".join((one["kind"], one["summary"])) for one in entries)
    for step in ("ASSIGNED", "IN_PROGRESS", "NEEDS_APPROVAL", "IN_PROGRESS", "REVIEW", "IN_PROGRESS", "REVIEW", "DONE"):
        assert any(f"to {step}" in one or f"→ {step}" in one for one in told), f"{step} is missing: {list(told)}"
    by_agent = [one["node"] for one in entries if one["node"]["__typename"] in ("Run", "ToolCall")]
    assert [one["__typename"] for one in by_agent].count("Run") == 1
    assert sorted(one["callStatus"] for one in by_agent if "toolName" in one) == [
        "DENIED",
        "DENIED",
        "SUCCESS",
        "SUCCESS",
    ]
    assert {(one.get("version") or one["calledBy"])["id"] for one in by_agent} == {version}
    kinds = {one["kind"] for one in entries}
    assert {"CHANGE", "APPROVAL", "RUN", "TOOL_CALL", "MESSAGE", "EVENT"} <= kinds
    seen = await agent.ask("query($id: ID!) { task(id: $id) { status } }", id=task)
    assert seen["task"]["status"] == "DONE"
