"""A person's own data (GDPR-1 to GDPR-4, PII-2, RBAC-8)."""

from typing import Any

import orjson
import pytest

from app.commands import Done, Refusal
from app.graph.errors import Unauthenticated
from app.identity.commands import privacy
from app.identity.rules import pseudonym
from app.jobs.all import JOBS
from app.rows import plain
from app.running import run_as_system
from app.unit_of_work import PermissionDenied
from db.enums import (
    ActorType,
    AuditSeverity,
    MessageType,
    NotificationChannel,
    NotificationType,
    OperatorStatus,
    SavedViewScope,
    TaskStatus,
    WatchEntityType,
)
from db.ids import new_id
from db.models import (
    ApprovalRecord,
    AuditLog,
    ChangeRecord,
    Message,
    Notification,
    NotificationPreference,
    Operator,
    OrgMember,
    RoleAssignment,
    SavedView,
    Task,
    WatchSubscription,
)
from tests.app.identity.stage import Stage
from tests.asking import ask

OWN = (RoleAssignment, Notification, NotificationPreference, WatchSubscription)
EXPORT = """mutation($input: OperatorExportInput!) { operatorExport(input: $input) {
  operator { gdprDataExportAt } export userErrors { message } } }"""


async def life(stage: Stage, operator_id: Any) -> None:
    """Rows of every kind that is about a person."""
    task = Task(
        id=new_id(), project_id=stage.project_id, title="T", type="ENGINEERING", status=TaskStatus.INBOX, priority=2
    )
    view = {"project_id": stage.project_id, "owner_operator_id": operator_id, "filters": {}}
    await stage.add(
        task,
        Message(
            task_id=task.id,
            author_type=ActorType.HUMAN,
            author_operator_id=operator_id,
            type=MessageType.COMMENT,
            content="I was here",
        ),
        Notification(operator_id=operator_id, type=NotificationType.ALERT, title="N"),
        NotificationPreference(operator_id=operator_id, channel=NotificationChannel.EMAIL, enabled=True),
        SavedView(name="private", scope=SavedViewScope.KANBAN, is_shared=False, **view),
        SavedView(name="shared", scope=SavedViewScope.KANBAN, is_shared=True, **view),
        WatchSubscription(operator_id=operator_id, entity_type=WatchEntityType.TASK, entity_id=task.id),
        ApprovalRecord(
            request_type="TOOL_EXECUTION",
            requester_id=operator_id,
            action_summary="a",
            justification="b",
            decisions=[{"operatorId": str(operator_id), "decision": "APPROVED"}],
        ),
    )


async def test_gdpr_1_everything_held(stage: Stage) -> None:
    """GDPR-1. All kinds are in the bundle, as JSON; the export is dated and audited with numbers alone."""
    person = await stage.newcomer("Nia", "Admin")
    await life(stage, person)
    await stage.done("create_project", by=person, name="Mine", slug="mine")
    outcome = await stage.do("export_operator", operator_id=person)
    assert isinstance(outcome, Done)
    held = orjson.loads(orjson.dumps(outcome.unkept["export"]))
    assert outcome.extras == {}
    assert held["operator"]["name"] == "Nia"
    assert held["incomplete"] == []
    counts = {name: len(rows) for name, rows in held.items() if isinstance(rows, list) and rows}
    assert counts == {
        "roleAssignments": 1,
        "notifications": 1,
        "notificationPreferences": 1,
        "savedViews": 2,
        "watchSubscriptions": 1,
        "messages": 1,
        "approvalsRequested": 1,
        "approvalsDecided": 1,
        "changeRecords": 1,
    }
    assert held["messages"][0]["content"] == "I was here"
    assert held["changeRecords"][0]["type"] == "PROJECT_CREATED"
    assert (await stage.one(Operator, person)).gdpr_data_export_at is not None
    (note,) = await stage.audits("GDPR_EXPORT")
    assert "Nia" not in str(note.metadata_)
    assert note.metadata_["pseudonymousId"].startswith("user_")  # type: ignore[index]


async def test_gdpr_1_an_export_says_what_did_not_fit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """GDPR-1. The newest rows of a kind are there, and the kind is named as incomplete."""
    person = await stage.newcomer()
    await life(stage, person)
    monkeypatch.setattr(privacy, "MOST_ROWS", 1)
    outcome = await stage.do("export_operator", operator_id=person)
    held = outcome.unkept["export"]
    assert held["incomplete"] == ["savedViews"]
    assert len(held["savedViews"]) == 1


async def test_gdpr_1_oneself_or_with_the_permission(stage: Stage) -> None:
    """GDPR-1. A person without any role exports themselves over GraphQL, and nobody else."""
    person = await stage.newcomer()
    with pytest.raises(PermissionDenied):
        await stage.do("export_operator", by=person, operator_id=stage.people[0])
    given = {"operatorId": f"opr_{person.hex}", "idempotencyKey": "k"}
    mine = "mutation($input: OperatorExportInput!) { operatorExport(input: $input) { export userErrors { message } } }"
    answer = await ask(stage.database, await stage.actor(person), mine, input=given)
    assert not answer.errors
    assert answer.data["operatorExport"]["export"]["operator"]["name"] == "Nia"
    # Personal data is not kept with the key.
    again = await ask(stage.database, await stage.actor(person), mine, input=given)
    assert again.data["operatorExport"] == {"export": None, "userErrors": []}
    admin = await stage.actor(stage.people[0])
    answer = await ask(stage.database, admin, EXPORT, input={"operatorId": f"opr_{person.hex}"})
    assert answer.data["operatorExport"]["operator"]["gdprDataExportAt"] is not None


async def test_gdpr_2_a_deletion_is_asked_for_and_taken_back(stage: Stage) -> None:
    """GDPR-2. Suspended at once; let in again by taking it back, and by nothing else."""
    person = await stage.newcomer("Nia", "Viewer")
    await stage.done("request_operator_deletion", by=person, operator_id=person, reason="I leave")
    waiting = await stage.one(Operator, person)
    assert (waiting.status, waiting.gdpr_deletion_request_at is None) == (OperatorStatus.SUSPENDED, False)
    with pytest.raises(Unauthenticated):
        await stage.actor(person)
    assert (await stage.refused("request_operator_deletion", operator_id=person)).code is Refusal.CONFLICT
    assert (await stage.refused("reactivate_operator", operator_id=person)).code is Refusal.DEPENDENCY_NOT_MET
    await stage.done("cancel_operator_deletion", operator_id=person)
    back = await stage.one(Operator, person)
    assert (back.status, back.gdpr_deletion_request_at, back.metadata_) == (OperatorStatus.ACTIVE, None, None)
    assert (await stage.actor(person)).can("read:tasks")
    assert (await stage.refused("cancel_operator_deletion", operator_id=person)).code is Refusal.CONFLICT
    actions = [one.action for one in await stage.audits("GDPR_DELETION_REQUESTED", "GDPR_DELETION_CANCELED")]
    assert sorted(actions) == ["GDPR_DELETION_CANCELED", "GDPR_DELETION_REQUESTED"]


async def test_gdpr_2_who_was_suspended_before_stays_suspended(stage: Stage) -> None:
    """GDPR-2. Taking a request back gives no more than there was."""
    person = await stage.newcomer()
    await stage.done("suspend_operator", operator_id=person)
    await stage.done("request_operator_deletion", operator_id=person)
    await stage.done("cancel_operator_deletion", operator_id=person)
    assert (await stage.one(Operator, person)).status is OperatorStatus.SUSPENDED


async def test_gdpr_3_an_erased_person(stage: Stage) -> None:
    """GDPR-3, PII-2. A tombstone with a pseudonym stays; what was theirs goes, what the law keeps names it."""
    person = await stage.newcomer("Nia", "Admin")
    before = await stage.one(Operator, person)
    await life(stage, person)
    await stage.done("create_project", by=person, name="Mine", slug="mine")
    await stage.done("update_operator", by=person, operator_id=person, avatar_url="https://x.example/nia.png")
    await stage.done("create_org_member", name="Nia", role="Clerk", email=before.email.upper())
    neighbour = await stage.newcomer("Ned", "Viewer")
    await stage.add(Notification(operator_id=neighbour, type=NotificationType.ALERT, title="stays"))
    await stage.done("erase_operator", operator_id=person, reason="asked to")

    stone = await stage.one(Operator, person)
    assert (stone.name, stone.email) == ("Deleted operator", f"erased+{person}@invalid")
    assert (stone.auth_id, stone.status) == (f"erased:{person}", OperatorStatus.DEACTIVATED)
    assert (stone.avatar_url, stone.metadata_) == (None, {"pseudonymousId": pseudonym(before.email)})
    for model in OWN:
        assert await stage.rows(model, model.operator_id == person) == []
    assert len(await stage.rows(Notification, Notification.operator_id == neighbour)) == 1
    assert [one.name for one in await stage.rows(SavedView)] == ["shared"]
    (member,) = await stage.rows(OrgMember)
    assert (member.name, member.email, member.active) == ("Deleted member", None, False)
    assert len(await stage.rows(ApprovalRecord, ApprovalRecord.requester_id == person)) == 1
    assert len(await stage.rows(ChangeRecord, ChangeRecord.actor_id == person)) == 1
    (note,) = await stage.audits("GDPR_ERASURE")
    assert note.severity is AuditSeverity.WARNING
    assert note.metadata_ == {"pseudonymousId": pseudonym(before.email), "reason": "asked to"}

    # No journal and no row of the person has the name or the address any more.
    journals = [*await stage.rows(ChangeRecord), *await stage.rows(AuditLog)]
    for row in journals:
        text = str({name: value for name, value in vars(row).items() if name[0] != "_"})
        assert before.email not in text.lower()
        assert "Nia" not in text
    found = await ask(
        stage.database,
        await stage.actor(stage.people[0]),
        "query($s: String!) { changeRecords(filter: {type: {eq: PROJECT_CREATED}}) { edges { node { actor {"
        " ... on Operator { name metadata } } } } } me: operators(filter: {name: {eq: $s}}) { totalCount } }",
        s="Nia",
    )
    assert not found.errors, found.errors
    names = [edge["node"]["actor"] for edge in found.data["changeRecords"]["edges"]]
    assert {"name": "Deleted operator", "metadata": {"pseudonymousId": pseudonym(before.email)}} in names
    assert found.data["me"]["totalCount"] == 0
    with pytest.raises(Unauthenticated):
        await stage.actor(person)


async def test_gdpr_3_erased_once_and_for_good(stage: Stage) -> None:
    """GDPR-3. Nothing follows an erasure; the address may be invited anew, as somebody else."""
    person = await stage.newcomer()
    email = (await stage.one(Operator, person)).email
    await stage.done("erase_operator", operator_id=person)
    for name in ("erase_operator", "request_operator_deletion", "cancel_operator_deletion"):
        assert (await stage.refused(name, operator_id=person)).code is Refusal.CONFLICT
    assert (await stage.refused("reactivate_operator", operator_id=person)).code is Refusal.INVALID_STATE_TRANSITION
    again = await stage.done("invite_operator", name="Nia", email=email)
    assert again.id != person


async def test_gdpr_2_the_gateway_erases_when_the_time_has_come(stage: Stage) -> None:
    """GDPR-2, RET. Within 30 days of the request, by the gateway itself; a younger request waits; once is enough."""
    due, waiting, stays = [await stage.newcomer(name) for name in ("Due", "Waiting", "Stays")]
    for one in (due, waiting):
        await stage.done("request_operator_deletion", operator_id=one)
    async with stage.database.platform() as connection:
        await connection.exec_driver_sql(
            "UPDATE operators SET gdpr_deletion_request_at = now() - interval '29 days' WHERE id = $1", (due,)
        )
    for erased in (1, 0):
        outcome = await run_as_system(stage.database, stage.tenant_id, "erase_due_operators", {})
        assert isinstance(outcome, Done)
        assert outcome.extras == {"erased": erased, "more": False}
    names = [(await stage.one(Operator, one)).name for one in (due, waiting, stays)]
    assert names == ["Deleted operator", "Waiting", "Stays"]
    (note,) = await stage.audits("GDPR_ERASURE")
    assert (note.actor_type, note.actor_id, note.resource_id) == (ActorType.SYSTEM, None, str(due))
    assert "erasure" in {job.name for job in JOBS}


async def test_gdpr_2_a_full_batch_says_that_there_is_more(stage: Stage) -> None:
    """GDPR-2. The job goes on until nobody is due."""
    for name in ("A", "B"):
        await stage.done("request_operator_deletion", operator_id=await stage.newcomer(name))
    async with stage.database.platform() as connection:
        await connection.exec_driver_sql(
            "UPDATE operators SET gdpr_deletion_request_at = '2026-01-01' WHERE tenant_id = $1"
            " AND gdpr_deletion_request_at IS NOT NULL",
            (stage.tenant_id,),
        )
    outcome = await run_as_system(stage.database, stage.tenant_id, "erase_due_operators", {"limit": 1})
    assert isinstance(outcome, Done)
    assert outcome.extras == {"erased": 1, "more": True}


async def test_gdpr_3_erasing_needs_the_permission(stage: Stage) -> None:
    """SM-4. Nobody erases without `erase:gdpr`, not even themselves: that they ask for."""
    person = await stage.newcomer("Nia", "Viewer")
    for name in ("erase_operator", "cancel_operator_deletion"):
        with pytest.raises(PermissionDenied):
            await stage.do(name, by=person, operator_id=person)


async def test_gdpr_4_a_consent_is_withdrawn_and_given_anew(stage: Stage) -> None:
    """GDPR-4. Out at once, by the person themself; an admin lets them in, and then their sign-in is consent again."""
    person = await stage.newcomer("Nia", "Viewer")
    actor = await stage.actor(person)
    consented = (await stage.one(Operator, person)).gdpr_consent_at
    assert consented is not None
    gone = await stage.done("withdraw_operator_consent", by=actor, operator_id=person, reason="I do not agree")
    assert (gone.status, gone.gdpr_consent_at) == (OperatorStatus.SUSPENDED, None)
    with pytest.raises(Unauthenticated):
        await stage.actor(person)
    assert (await stage.one(Operator, person)).gdpr_consent_at is None
    (note,) = await stage.audits("GDPR_CONSENT_WITHDRAWN")
    assert (note.severity, note.actor_id, note.resource_id) == (AuditSeverity.WARNING, person, str(person))
    assert note.description == "I do not agree"
    assert note.metadata_ == {
        "pseudonymousId": pseudonym(gone.email),
        "consentedAt": plain(consented),
        "before": "ACTIVE",
        "after": "SUSPENDED",
    }

    refused = await stage.refused("withdraw_operator_consent", operator_id=person)
    assert (refused.code, refused.field) == (Refusal.CONFLICT, "operator_id")
    assert "withdrawn before" in refused.message
    assert len(await stage.audits("GDPR_CONSENT_WITHDRAWN")) == 1
    back = await stage.done("reactivate_operator", operator_id=person)
    assert (back.status, back.gdpr_consent_at) == (OperatorStatus.ACTIVE, None)
    assert (await stage.actor(person)).can("read:tasks")
    assert (await stage.one(Operator, person)).gdpr_consent_at > consented


async def test_gdpr_4_on_somebodys_behalf_with_the_permission(stage: Stage) -> None:
    """GDPR-4. Nobody else's without `erase:gdpr`; who has never signed in has no consent to withdraw."""
    person, other = await stage.newcomer("Nia", "Viewer"), await stage.newcomer("Ned", "Viewer")
    for one in (person, other):
        await stage.actor(one)
    with pytest.raises(PermissionDenied):
        await stage.do("withdraw_operator_consent", by=other, operator_id=person)
    await stage.done("withdraw_operator_consent", operator_id=person)
    assert (await stage.one(Operator, person)).status is OperatorStatus.SUSPENDED
    never = await stage.newcomer("New")
    refused = await stage.refused("withdraw_operator_consent", operator_id=never)
    assert refused.code is Refusal.CONFLICT
    assert "never signed in" in refused.message
    assert (await stage.one(Operator, never)).status is OperatorStatus.ACTIVE


async def test_gdpr_4_who_was_kept_out_before_stays_as_they_were(stage: Stage) -> None:
    """GDPR-4. Suspended stays suspended, deactivated stays deactivated; of the erased nothing is left to withdraw."""
    suspended, deactivated, erased = [await stage.newcomer(name) for name in ("A", "B", "C")]
    for one in (suspended, deactivated, erased):
        await stage.actor(one)
    await stage.done("suspend_operator", operator_id=suspended)
    await stage.done("deactivate_operator", operator_id=deactivated)
    for one, status in ((suspended, OperatorStatus.SUSPENDED), (deactivated, OperatorStatus.DEACTIVATED)):
        after = await stage.done("withdraw_operator_consent", operator_id=one)
        assert (after.status, after.gdpr_consent_at) == (status, None)
    await stage.done("erase_operator", operator_id=erased)
    refused = await stage.refused("withdraw_operator_consent", operator_id=erased)
    assert "erased before" in refused.message


async def test_gdpr_4_taking_a_deletion_back_does_not_undo_a_withdrawal(stage: Stage) -> None:
    """GDPR-2, GDPR-4. Who asked to be erased, and then withdrew, is let in by an admin's word alone."""
    person = await stage.newcomer()
    await stage.actor(person)
    await stage.done("request_operator_deletion", operator_id=person)
    await stage.done("withdraw_operator_consent", operator_id=person)
    stays = await stage.done("cancel_operator_deletion", operator_id=person)
    assert (stays.status, stays.gdpr_deletion_request_at, stays.metadata_) == (OperatorStatus.SUSPENDED, None, None)
    assert (await stage.done("reactivate_operator", operator_id=person)).status is OperatorStatus.ACTIVE


async def test_rbac_8_the_last_admin_does_not_withdraw(stage: Stage) -> None:
    """RBAC-8, GDPR-4. There is always somebody who can let others in."""
    first, *rest = stage.people
    await stage.actor(first)
    for one in rest:
        await stage.done("suspend_operator", operator_id=one)
    refused = await stage.refused("withdraw_operator_consent", by=first, operator_id=first)
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "operator_id")
    after = await stage.one(Operator, first)
    assert (after.status, after.gdpr_consent_at is None) == (OperatorStatus.ACTIVE, False)
    assert await stage.audits("GDPR_CONSENT_WITHDRAWN") == []
