"""Webhooks: where they point (WHK-1), what reaches them (WHK-2), their secrets (PII-4), and sending again (WHK-6)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select, text

from app.commands import Done, Refusal, Refused
from app.graph.ids import global_id
from app.idempotency import Key
from app.platform import addresses
from app.platform.rules.webhooks import EVENTS, Happening, events_fault, is_public, reaches, url_fault
from app.running import run
from db import models
from db.enums import TaskType, WebhookDeliveryStatus
from db.ids import new_id
from tests.asking import SEAL, data_of
from tests.conftest import TenantUnderTest
from tests.governed import Registry
from tests.serving import Served

URL = "https://1.1.1.1/hooks"
GOOD: dict[str, Any] = {"name": "Hook", "url": URL, "events": ["task.created"]}


@pytest.mark.parametrize(
    "url",
    [
        *("http://1.1.1.1/", "ftp://1.1.1.1/", "//1.1.1.1/", "1.1.1.1", "", "https://", "https:///x", "javascript:1"),
        *("https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/"),
        *(
            "https://0177.0.0.1/",
            "https://10.0.0.1/",
            "https://172.16.0.1/",
            "https://192.168.1.1/",
            "https://0.0.0.0/",
        ),
        *(
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
        ),
        *("https://192.0.2.1/", "https://198.18.0.1/", "https://240.0.0.1/", "https://127.0.0.1./", "https://127.1./"),
        *("https://[::1]/", "https://[::]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fc00::1]/"),
        *("https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/", "https://[64:ff9b::7f00:1]/"),
        *("https://[2002:7f00:1::]/", "https://[ff02::1]/", "https://[::127.0.0.1]/"),
        *("https://user:secret@1.1.1.1/", "https://user@1.1.1.1/", "https://@1.1.1.1/", "https://1.1.1.1/#part"),
        *("https://1.1.1.1:99999/", "https://1.1.1.1:x/", "https://exa mple.com/", "https://ex\nample.com/"),
        *("https://b\u00fccher.example/", "https://example.com/" + "x" * 2_000, "https://[::1"),
    ],
)
def test_whk_1_addresses_that_are_not_taken(url: str) -> None:
    assert url_fault(url) is not None


@pytest.mark.parametrize(
    "url",
    [
        *("https://1.1.1.1/", "HTTPS://1.1.1.1:8443/a?b=c", "https://[2606:4700:4700::1111]/", "https://example.com"),
        *("https://hooks.example.com/t/T1/B2?x=%20", "https://1.example.com/", "https://example.com./"),
    ],
)
def test_whk_1_addresses_that_are_taken_as_they_are_written(url: str) -> None:
    assert url_fault(url) is None


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (["93.184.216.34"], None),
        (["93.184.216.34", "2606:4700:4700::1111"], None),
        (["93.184.216.34", "10.0.0.1"], "private"),
        (["127.0.0.1"], "private"),
        (["::1"], "private"),
        (["fe80::1%eth0"], "private"),
        ([], "Nobody knows"),
    ],
)
async def test_whk_1_what_a_name_stands_for(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, found: list[str], says: str | None
) -> None:
    """Every address of it has to be a public one; at making and at changing."""

    async def lookup(host: str) -> Sequence[str]:
        assert host == "hooks.example.com"
        return found

    monkeypatch.setattr(addresses, "lookup", lookup)
    hook = models.Webhook(id=new_id(), name="x", url=URL, secret="v1.x", events=["*"])
    await registry.tenant.add(hook)
    arguments: dict[str, Any] = {**GOOD, "url": "https://hooks.example.com/x"}
    for name, given in (
        ("create_webhook", arguments),
        ("update_webhook", {"webhook_id": hook.id, "url": arguments["url"]}),
    ):
        outcome = await run(registry.tenant.database, registry.actor, name, given, seal=SEAL)
        if says is None:
            assert isinstance(outcome, Done)
        else:
            assert isinstance(outcome, Refused)
            assert (outcome.code, outcome.field, says in outcome.message) == (Refusal.VALIDATION_ERROR, "url", True)


async def test_whk_1_a_name_is_really_looked_up() -> None:
    """`localhost` is known everywhere; a name under `.invalid` nowhere (RFC 2606)."""
    assert all(not is_public(one) for one in await addresses.lookup("localhost"))
    assert await addresses.lookup("nobody.invalid") == ()
    assert await addresses.destination_fault("https://localhost/") is not None


@pytest.mark.parametrize("events", [[], ["task.made"], ["task.created", ""], ["TASK.CREATED"]])
def test_whk_1_events_that_are_none(events: list[str]) -> None:
    assert events_fault(events) is not None


def test_whk_1_events() -> None:
    assert events_fault(list(EVENTS)) is None
    assert events_fault(["*"]) is None


_MINE, _OTHER = "p1", "p2"


@pytest.mark.parametrize(
    ("hook", "happening", "expected"),
    [
        ({}, Happening("task.created", _MINE), True),
        ({"active": False}, Happening("task.created", _MINE), False),
        ({}, Happening("task.assigned", _MINE), False),
        ({"events": ["*"]}, Happening("task.assigned", _MINE), True),
        ({"project_id": _MINE}, Happening("task.created", _MINE), True),
        ({"project_id": _MINE}, Happening("task.created", _OTHER), False),
        ({"project_id": _MINE}, Happening("task.created"), False),
        ({}, Happening("task.created"), True),
        ({"filters": {"taskTypes": ["OPS"]}}, Happening("task.created", None, {"taskType": "OPS"}), True),
        ({"filters": {"taskTypes": ["OPS"]}}, Happening("task.created", None, {"taskType": "DOCS"}), False),
        ({"filters": {"taskTypes": ["OPS"]}}, Happening("task.created"), True),
        ({"filters": {"taskTypes": []}}, Happening("task.created", None, {"taskType": "DOCS"}), False),
        (
            {"filters": {"taskTypes": ["OPS"], "statuses": ["DONE"]}},
            Happening("task.created", None, {"taskType": "OPS", "status": "INBOX"}),
            False,
        ),
        (
            {"filters": {"instanceIds": ["i1"], "statuses": ["DONE"]}},
            Happening("task.created", None, {"instanceId": "i1", "status": "DONE"}),
            True,
        ),
    ],
)
def test_whk_2_what_reaches_a_webhook(hook: dict[str, Any], happening: Happening, expected: bool) -> None:
    usual: dict[str, Any] = {"active": True, "project_id": None, "events": ["task.created"], "filters": None}
    assert reaches(happening, **{**usual, **hook}) is expected


async def webhook(registry: Registry, **given: Any) -> Done:
    outcome = await run(registry.tenant.database, registry.actor, "create_webhook", {**GOOD, **given}, seal=SEAL)
    assert isinstance(outcome, Done), outcome
    return outcome


async def stored(tenant: TenantUnderTest, model: Any) -> list[Any]:
    async with tenant.database.transaction(tenant.actor()) as session:
        return list(await session.scalars(select(model).where(model.tenant_id == tenant.id).order_by(model.id)))


async def test_whk_1_a_secret_is_made_sealed_and_shown_once(registry: Registry) -> None:
    made = await webhook(registry)
    secret = made.unkept["secret"]
    assert secret.startswith("whsec_")
    assert len(secret) >= 40
    (row,) = await stored(registry.tenant, models.Webhook)
    assert secret not in row.secret
    assert SEAL.unseal(row.secret) == secret
    own = await webhook(registry, secret="s" * 16)
    assert own.unkept["secret"] is None  # whoever sent it has it
    rotated = await run(
        registry.tenant.database, registry.actor, "rotate_webhook_secret", {"webhook_id": row.id}, seal=SEAL
    )
    assert isinstance(rotated, Done)
    (row, _) = await stored(registry.tenant, models.Webhook)
    assert SEAL.unseal(row.secret) == rotated.unkept["secret"] != secret
    audits = [one.action for one in await stored(registry.tenant, models.AuditLog)]
    assert audits == ["WEBHOOK_CREATED", "WEBHOOK_CREATED", "WEBHOOK_SECRET_ROTATED"]


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"secret": "s" * 15}, "secret"),
        ({"name": " "}, "name"),
        ({"events": []}, "events"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"project_id": new_id()}, "project_id"),
        ({"filters": {"instance_ids": [new_id()]}}, "filters.instance_ids[0]"),
    ],
)
async def test_whk_1_a_bad_webhook_is_refused(registry: Registry, given: dict[str, Any], where: str) -> None:
    outcome = await run(registry.tenant.database, registry.actor, "create_webhook", {**GOOD, **given}, seal=SEAL)
    assert isinstance(outcome, Refused)
    assert outcome.field == where
    assert await stored(registry.tenant, models.Webhook) == []


async def test_whk_1_without_a_key_to_seal_with_nothing_is_stored(registry: Registry) -> None:
    outcome = await registry.do("create_webhook", **GOOD)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.field) == (Refusal.DEPENDENCY_NOT_MET, "secret")
    assert await stored(registry.tenant, models.Webhook) == []


async def test_pii_4_a_secret_is_in_no_answer_log_journal_or_error(
    served: Served, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over HTTP, by the client's own secret and by one that the gateway made; the whole database is looked through."""
    caplog.set_level(logging.DEBUG)
    mine = "my-very-own-secret-text"
    create = """mutation($input: WebhookCreateInput!) { webhookCreate(input: $input) {
        secret webhook { id name url events } userErrors { code field message } } }"""
    given = {"name": "Hook", "url": URL, "events": ["*"], "idempotencyKey": "k"}
    own = await served.post(create, input={**given, "secret": mine, "idempotencyKey": "own"})
    made = await served.post(create, input=given)
    secret = made["data"]["webhookCreate"]["secret"]
    assert own["data"]["webhookCreate"]["secret"] is None
    assert (await served.post(create, input=given))["data"]["webhookCreate"]["secret"] is None  # once
    short = await served.post(create, input={**given, "secret": "too-short-one", "idempotencyKey": "n"})
    hook = made["data"]["webhookCreate"]["webhook"]["id"]
    rotate = "mutation($input: WebhookRotateInput!) { webhookRotate(input: $input) { secret userErrors { code } } }"
    turned = await served.post(rotate, input={"webhookId": hook, "secret": mine})
    read = await served.post(
        "{ webhooks { edges { node { id name url events metadata } } } auditLogs { edges { node { metadata } } } }"
    )
    wrong = await served.post("{ webhooks { edges { node { secret } } } }")
    assert wrong["errors"]
    for body in (own, short, turned, read, wrong):
        assert mine not in json.dumps(body)
        assert secret not in json.dumps(body)
    assert "too-short-one" not in json.dumps(short)
    said = caplog.text + "".join(capsys.readouterr())
    assert not any(one in said for one in (mine, secret, "too-short-one"))
    async with served.tenant.database.platform() as connection:
        tables = (
            await connection.execute(
                text(
                    "SELECT schemaname || '.' || tablename AS name FROM pg_tables"
                    " WHERE schemaname IN ('public', 'gateway') AND"
                    " has_table_privilege(schemaname || '.' || tablename, 'SELECT')"
                )
            )
        ).scalars()
        names = list(tables)
        assert {"public.webhooks", "public.audit_logs", "public.op_events", "gateway.idempotency_keys"} <= set(names)
        for table in names:
            statement = f"SELECT count(*) FROM {table} t WHERE t::text LIKE :mine OR t::text LIKE :made"
            found = await connection.execute(text(statement), {"mine": f"%{mine}%", "made": f"%{secret}%"})
            assert found.scalar_one() == 0, table


async def test_whk_2_filters_are_kept_as_the_graph_shows_them(registry: Registry) -> None:
    agent = models.AgentInstance(
        id=new_id(),
        version_id=(await registry.version()).id,
        project_id=registry.tenant.project.id,
        environment_id=registry.tenant.environment.id,
    )
    await registry.tenant.add(agent)
    filters = {"task_types": [TaskType.OPS], "instance_ids": [agent.id], "statuses": ["DONE"]}
    made = await webhook(registry, filters=filters, events=["*", "*"])
    row: Any = made.row
    assert row.filters == {"taskTypes": ["OPS"], "instanceIds": [str(agent.id)], "statuses": ["DONE"]}
    assert row.events == ["*"]
    data = await data_of(
        registry.tenant, registry.actor, "{ webhooks { edges { node { filters { taskTypes instances { id } } } } } }"
    )
    (edge,) = data["webhooks"]["edges"]
    assert edge["node"]["filters"] == {"taskTypes": ["OPS"], "instances": [{"id": global_id("ins", agent.id)}]}
    changed = await registry.done("update_webhook", webhook_id=row.id, filters=None)
    assert changed.filters is None


async def test_whk_6_sent_again(registry: Registry) -> None:
    """A delivery of its own, to where the webhook points now; not while the webhook is off."""
    made = await webhook(registry)
    hook: Any = made.row
    first = models.WebhookDelivery(
        id=new_id(),
        webhook_id=hook.id,
        event="task.created",
        payload={"n": 1},
        url="https://old.example.com/",
        status=WebhookDeliveryStatus.FAILED,
        attempts=3,
        error="gone",
    )
    await registry.tenant.add(first)
    again = await registry.done("redeliver_webhook", delivery_id=first.id)
    assert again.id != first.id
    assert (again.event, again.payload, again.url) == ("task.created", {"n": 1}, URL)
    assert (again.status, again.attempts, again.error) == (WebhookDeliveryStatus.PENDING, 0, None)
    await registry.done("deactivate_webhook", webhook_id=hook.id)
    refused = await registry.refused("redeliver_webhook", delivery_id=first.id)
    assert refused.code is Refusal.DEPENDENCY_NOT_MET
    assert (await registry.refused("deactivate_webhook", webhook_id=hook.id)).code is Refusal.CONFLICT
    await registry.done("activate_webhook", webhook_id=hook.id)
    assert len(await stored(registry.tenant, models.WebhookDelivery)) == 2


async def test_a_replayed_creation_makes_one_webhook_and_keeps_the_secret_to_itself(registry: Registry) -> None:
    key = Key.of("webhookCreate", "k", {})
    outcomes = [
        await run(registry.tenant.database, registry.actor, "create_webhook", dict(GOOD), key, SEAL) for _ in range(2)
    ]
    assert [one.unkept.get("secret") is None for one in outcomes if isinstance(one, Done)] == [False, True]
    assert len(await stored(registry.tenant, models.Webhook)) == 1
