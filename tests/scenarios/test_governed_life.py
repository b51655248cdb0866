"""The governed life of a fleet over HTTP, with real tokens: from an empty tenant to a rollback, all on record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.auth.actor import ActorKind
from app.auth.tokens import PLATFORM_SUBJECT
from app.main import Application
from db.connections import Connections
from db.ids import new_id
from tests.serving import open_application

GENOME: dict[str, Any] = {
    "modelConfig": {"primaryModel": "m-1", "temperature": 0.2},
    "promptBundleHash": "p1",
    "toolManifest": [
        {"toolId": name, "schemaVersion": "1.0", "requiredPermissions": []} for name in ("search", "write_file")
    ],
    "provenance": {"builtAt": "2026-01-01T00:00:00Z", "builtBy": "ci"},
}
ERRORS = "userErrors { code message field allowedTransitions }"


class Client:
    """One caller: what they ask over HTTP, with their own token."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._token = token

    async def ask(self, query: str, **variables: Any) -> Any:
        """The data of an answer."""
        response = await self._http.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self._token}"},
        )
        body = response.json()
        assert "errors" not in body, body["errors"]
        return body["data"]

    async def do(self, name: str, selection: str, /, **given: Any) -> Any:
        """The payload of a mutation that is done."""
        payload = await self.attempt(name, selection, **given)
        assert payload["userErrors"] == [], payload["userErrors"]
        return payload

    async def attempt(self, name: str, selection: str = "", /, **given: Any) -> Any:
        """The payload of a mutation, done or refused."""
        kind = name[0].upper() + name[1:]
        query = f"mutation($input: {kind}Input!) {{ {name}(input: $input) {{ {selection} {ERRORS} }} }}"
        return (await self.ask(query, input=given))[name]

    async def refused(self, name: str, /, **given: Any) -> str:
        """The code of a mutation that is refused."""
        payload = await self.attempt(name, **given)
        assert payload["userErrors"], f"{name} was done"
        return str(payload["userErrors"][0]["code"])


class Story:
    """The tenant's people, and what exists so far."""

    def __init__(self, application: Application, http: httpx.AsyncClient) -> None:
        self._tokens = application.gateway.authenticator.local
        self._http = http
        self.slug = f"acme-{new_id().hex[-10:]}"
        self.subjects = {name: f"{self.slug}-{name}" for name in ("ada", "grace", "edsger")}

    def platform(self) -> Client:
        assert self._tokens is not None
        return Client(self._http, self._tokens.issue(ActorKind.PLATFORM, PLATFORM_SUBJECT))

    def person(self, name: str) -> Client:
        assert self._tokens is not None
        return Client(self._http, self._tokens.issue(ActorKind.OPERATOR, self.subjects[name], tenant=self.slug))

    def agent(self, token: str) -> Client:
        return Client(self._http, token)


@pytest.fixture
async def story(connections: Connections, tmp_path: Path) -> AsyncIterator[Story]:
    """The application, with nobody in it."""
    async with open_application(connections, tmp_path) as (application, http):
        yield Story(application, http)


async def approve(asker: Client, decider: Client, **request: Any) -> str:
    """A request by one person, granted by another; its id."""
    asked = await asker.do("approvalRequest", "approvalRecord { id status }", justification="it is needed", **request)
    approval = asked["approvalRecord"]["id"]
    assert await asker.refused("approvalDecide", approvalId=approval, decision="APPROVE", reason="me") != ""
    decided = await decider.do(
        "approvalDecide", "approvalRecord { status }", approvalId=approval, decision="APPROVE", reason="looked at it"
    )
    assert decided["approvalRecord"]["status"] == "APPROVED"
    return str(approval)


async def promote(ada: Client, grace: Client, template: str, label: str, prompt: str) -> str:
    """A version from its genome to APPROVED: tested, passed, and carried by two approvals at tier 1."""
    built = await ada.do(
        "agentVersionCreate",
        "agentVersion { id genomeHash lifecycleState } changeRecord { type }",
        templateId=template,
        genome={**GENOME, "promptBundleHash": prompt},
        versionLabel=label,
    )
    version = str(built["agentVersion"]["id"])
    assert await ada.refused("agentVersionTransition", versionId=version, to="APPROVED") == "INVALID_STATE_TRANSITION"
    await ada.do("agentVersionTransition", "", versionId=version, to="TESTING")
    assert await ada.refused("agentVersionTransition", versionId=version, to="CANDIDATE") == "DEPENDENCY_NOT_MET"
    pending = """query($version: ID!) {
        evaluationRuns(filter: {status: {eq: PENDING}, version: {id: {eq: $version}}}) { edges { node { id } } } }"""
    runs = await ada.ask(pending, version=version)
    for edge in runs["evaluationRuns"]["edges"]:
        run = edge["node"]["id"]
        await ada.do("evaluationRunClaim", "", runId=run)
        done = await ada.do(
            "evaluationRunFinish",
            "evaluationRun { status passRate version { evalStatus } }",
            runId=run,
            testResults=[{"testCaseId": "answers", "passed": True, "score": 0.9}],
        )
        assert done["evaluationRun"] == {"status": "PASSED", "passRate": 1.0, "version": {"evalStatus": "PASS"}}
    for state in ("CANDIDATE", "APPROVED"):
        assert await ada.refused("agentVersionTransition", versionId=version, to=state) == "DEPENDENCY_NOT_MET"
        await approve(
            ada,
            grace,
            requestType="VERSION_PROMOTION",
            riskLevel="YELLOW",
            targetId=version,
            actionSummary=f"Promote {label} to {state}",
            rollbackPlan="the version before",
        )
        await ada.do("agentVersionTransition", "agentVersion { lifecycleState }", versionId=version, to=state)
    return version


async def deploy(ada: Client, grace: Client, version: str, environment: str) -> str:
    """A release to production under dual control."""
    planned = await ada.do("deploymentCreate", "deployment { id }", targetVersionId=version, environmentId=environment)
    deployment = str(planned["deployment"]["id"])
    assert await ada.refused("deploymentActivate", deploymentId=deployment) == "DEPENDENCY_NOT_MET"
    assert await ada.refused("deploymentApprove", deploymentId=deployment) == "DEPENDENCY_NOT_MET"  # her own plan
    await grace.do("deploymentApprove", "", deploymentId=deployment)
    assert await ada.refused("deploymentActivate", deploymentId=deployment) == "DEPENDENCY_NOT_MET"
    await approve(
        ada,
        grace,
        requestType="DEPLOYMENT",
        riskLevel="YELLOW",
        targetId=deployment,
        actionSummary="Release to production",
        rollbackPlan="deploymentRollBack",
    )
    active = await ada.do("deploymentActivate", "deployment { status }", deploymentId=deployment)
    assert active["deployment"]["status"] == "ACTIVE"
    return deployment


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


async def start(ada: Client, version: str, release: str, project: str, environment: str) -> str:
    """An agent of a release, provisioned and active; its id."""
    provisioned = await ada.do(
        "agentInstanceCreate",
        "agentInstance { id state version { template { name } } }",
        versionId=version,
        projectId=project,
        environmentId=environment,
        deploymentId=release,
        name="scout",
    )
    assert provisioned["agentInstance"]["state"] == "PROVISIONING"
    instance = str(provisioned["agentInstance"]["id"])
    await ada.do("agentInstanceTransition", "", instanceId=instance, to="ACTIVE")
    return instance


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
