"""The governed life of a fleet over HTTP, with real tokens: from an empty tenant to a rollback, all on record."""

from __future__ import annotations

from tests.scenarios.acme import Client, Story, deploy, promote, start


async def test_the_governed_life_of_a_fleet(story: Story) -> None:
    """Every step is a mutation with a rule behind it, and in the end the log lists them all and verifies."""
    born = await story.platform().do(
        "tenantBootstrap",
        "tenantId projectId environmentIds operatorIds",
        name="Acme",
        slug=story.slug,
        operators=[
            {"name": name.title(), "email": f"{name}@acme.example", "authId": subject}
            for name, subject in story.subjects.items()
        ],
    )
    ada, grace, edsger = (story.person(name) for name in ("ada", "grace", "edsger"))
    places = await ada.ask("{ environments { edges { node { id slug isProduction } } } }")
    production = next(e["node"]["id"] for e in places["environments"]["edges"] if e["node"]["isProduction"])
    project = born["projectId"]

    template = (await ada.do("agentTemplateCreate", "agentTemplate { id }", name="Researcher"))["agentTemplate"]["id"]
    await ada.do(
        "evaluationSuiteCreate",
        "",
        name="Basics",
        testCases=[{"id": "answers", "name": "Answers", "input": {"question": "?"}}],
    )
    first = await promote(ada, grace, template, "v1.0.0", "p1")
    release = await deploy(ada, grace, first, production)
    instance = await start(ada, first, release, project, production)
    token = (await ada.do("agentInstanceTokenIssue", "token", instanceId=instance))["token"]

    await call_a_tool(ada, grace, instance)
    await stop_and_go_on(edsger, ada, story.agent(token), instance)

    second = await promote(ada, grace, template, "v1.1.0", "p2")
    release = await deploy(ada, grace, second, production)
    replaced = await start(ada, second, release, project, production)
    back = await ada.do(
        "deploymentRollBack",
        "deployment { status targetVersion { versionLabel } } drainedInstances changeRecord { type }",
        deploymentId=release,
        reason="v1.1.0 invents its sources",
    )
    assert back["deployment"] == {"status": "ACTIVE", "targetVersion": {"versionLabel": "v1.0.0"}}
    assert back["changeRecord"]["type"] == "DEPLOYMENT_ROLLED_BACK"
    assert back["drainedInstances"] == 1
    state = await ada.ask("query($id: ID!) { agentInstance(id: $id) { state } }", id=replaced)
    assert state["agentInstance"]["state"] == "DRAINING"

    await the_log_tells_it(ada)


async def call_a_tool(ada: Client, grace: Client, instance: str) -> None:
    """A YELLOW tool at tier 1: asked for, granted by another person, allowed once, asked for again."""
    selection = "policyDecision { decision riskLevel autonomyTier reason approvalRecord { id status } }"
    given = {
        "instanceId": instance,
        "actionType": "TOOL_CALL",
        "toolName": "write_file",
        "toolArgs": {"path": "notes.md", "content": "findings"},
    }
    green = await ada.do("policyEvaluate", selection, **{**given, "toolName": "search", "toolArgs": {"q": "owls"}})
    assert green["policyDecision"]["decision"] == "ALLOW"
    asked = (await ada.do("policyEvaluate", selection, **given))["policyDecision"]
    assert (asked["decision"], asked["riskLevel"], asked["autonomyTier"]) == ("NEEDS_APPROVAL", "YELLOW", 1)
    approval = asked["approvalRecord"]["id"]
    await ada.refused("approvalDecide", approvalId=approval, decision="APPROVE", reason="mine")
    await grace.do("approvalDecide", "", approvalId=approval, decision="APPROVE", reason="harmless")
    assert (await ada.do("policyEvaluate", selection, **given))["policyDecision"]["decision"] == "ALLOW"
    again = (await ada.do("policyEvaluate", selection, **given))["policyDecision"]
    assert again["decision"] == "NEEDS_APPROVAL"
    assert again["approvalRecord"]["id"] != approval


async def stop_and_go_on(edsger: Client, ada: Client, agent: Client, instance: str) -> None:
    """The emergency pause holds everybody at once, agents too; resuming restores what it paused."""
    assert (await agent.ask("{ viewer { kind emergencyMode } }"))["viewer"] == {
        "kind": "INSTANCE",
        "emergencyMode": "NORMAL",
    }
    paused = await edsger.do(
        "operatorControlSet",
        "instancesChanged operatorControl { mode } changeRecord { type }",
        mode="PAUSED",
        reason="something is wrong",
    )
    assert paused["instancesChanged"] == 1
    assert paused["changeRecord"]["type"] == "EMERGENCY_PAUSE"
    denied = await ada.do(
        "policyEvaluate",
        "policyDecision { decision reason }",
        instanceId=instance,
        actionType="TOOL_CALL",
        toolName="search",
    )
    assert denied["policyDecision"]["decision"] == "DENY"
    assert (await agent.ask("{ viewer { emergencyMode } }"))["viewer"]["emergencyMode"] == "PAUSED"
    await edsger.do("operatorControlSet", "", mode="NORMAL")
    state = await ada.ask("query($id: ID!) { agentInstance(id: $id) { state } }", id=instance)
    assert state["agentInstance"]["state"] == "ACTIVE"


STEPS = [
    "TENANT_BOOTSTRAPPED",
    "TEMPLATE_CREATED",
    "VERSION_CREATED",
    "VERSION_TRANSITIONED",
    "APPROVAL_REQUESTED",
    "APPROVAL_DECIDED",
    "VERSION_TRANSITIONED",
    "VERSION_TRANSITIONED",
    "DEPLOYMENT_CREATED",
    "DEPLOYMENT_ACTIVATED",
    "INSTANCE_CREATED",
    "INSTANCE_TRANSITIONED",
    "APPROVAL_REQUESTED",
    "APPROVAL_DECIDED",
    "APPROVAL_REQUESTED",
    "EMERGENCY_PAUSE",
    "INSTANCE_TRANSITIONED",
    "POLICY_EVALUATED",
    "INSTANCE_TRANSITIONED",
    "VERSION_CREATED",
    "DEPLOYMENT_ACTIVATED",
    "DEPLOYMENT_ROLLED_BACK",
    "DEPLOYMENT_CREATED",
    "INSTANCE_CREATED",
]


async def the_log_tells_it(ada: Client) -> None:
    """The steps stand in the log in this order, the numbers have no hole, and the chain is unbroken."""
    found = await ada.ask("{ changeRecords(first: 200, orderBy: [{field: SEQ}]) { edges { node { seq type } } } }")
    records = [edge["node"] for edge in found["changeRecords"]["edges"]]
    assert [record["seq"] for record in records] == [str(number + 1) for number in range(len(records))]
    types = iter(record["type"] for record in records)
    for step in STEPS:
        assert step in types, f"{step} is missing, or out of order"
    verified = await ada.ask("{ changeLogVerify { isValid reachesHead checked } }")
    assert verified["changeLogVerify"] == {"isValid": True, "reachesHead": True, "checked": len(records)}
