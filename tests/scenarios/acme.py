"""Acme: a tenant that the scenarios build up over HTTP, step by step, with real tokens."""

from __future__ import annotations

from typing import Any

import httpx

from app.auth.actor import ActorKind
from app.auth.tokens import PLATFORM_SUBJECT
from app.main import Application
from db.ids import new_id

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
