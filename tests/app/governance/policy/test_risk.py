"""Risk of an action, secrets and production in it, redaction, and what goes out (RSK-3 to RSK-7)."""

from typing import Any

import pytest

from app.governance.policy.action import Action, ActionType, is_too_deep
from app.governance.policy.risk import (
    assess,
    holds_secret,
    outbound_faults,
    preview,
    redact,
    redact_value,
    task_risk,
    touches_production,
)
from db.enums import RiskLevel, TaskType
from tests.app.governance.policy.facts import call

GREEN, YELLOW, RED = RiskLevel
NOWHERE: frozenset[str] = frozenset()

SECRETS = [
    "api_key=abc",
    "API-KEY: abc",
    "apikey: 'abc'",
    "client_secret=hunter2",
    '{"password": "hunter2"}',
    "GITHUB_TOKEN = x",
    "passwd:x",
    "sk-" + "a1B2" * 5,
    "pk_" + "a1B2" * 5,
    "sk_live_" + "a1B2" * 6,
    "sk-ant-api03-" + "a1-B_" * 8,
    "sk-proj-" + "a1-B_" * 8,
    "ghp_" + "a" * 36,
    "gho_" + "a" * 30,
    "ghs_" + "Z9" * 15,
    "github_pat_" + "11ABC_" * 5,
    "xoxb-1234-abcd",
    "xoxp-1",
    "AKIA" + "A1B2C3D4E5F6G7H8",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "Authorization: Bearer abcdefg1",
    "bearer  eyJhbGciOi.J9",
    "cat .env",
    "config/.env.local",
    "'.env'",
    "deploy/prod.env",
]
NO_SECRETS = [
    "maxTokens: 4096",
    "max_tokens=4096",
    "monkey: banana",
    "the key: practice",
    "secretary: Ann",
    "task-" + "a1B2" * 6,
    "disk-" + "a1B2" * 6,
    "sk-short",
    "ghp_tooshort",
    "bearer of good news",
    "bearer tokenless",
    "xoxo",
    "process.env",
    "process.env.HOME",
    "environment",
    "my.envelope",
    "AKIA123",
    "-----BEGIN PUBLIC KEY-----",
    "password",
    "token:",
    "",
]


@pytest.mark.parametrize("text", SECRETS)
def test_rsk_4_texts_that_hold_a_secret(text: str) -> None:
    """RSK-4 as corrected: shapes of values, wherever they stand, raise any tool to RED."""
    assert holds_secret({"deep": [{"text": text}]})
    assessed = assess(call("read_file", text=text), {}, NOWHERE)
    assert (assessed.level, assessed.has_secret) == (RED, True)


@pytest.mark.parametrize("text", NO_SECRETS)
def test_rsk_4_texts_that_hold_none(text: str) -> None:
    assert not holds_secret({"text": text})


@pytest.mark.parametrize("key", ["client_secret", "DB_PASSWORD", "GITHUB_TOKEN", "api-key", "Authorization", "pwd"])
@pytest.mark.parametrize("value", ["x", 5, None, ["a"], {"b": 1}])
def test_rsk_4_keys_that_name_a_secret(key: str, value: Any) -> None:
    assert holds_secret([{"outer": {key: value}}])
    assert redact_value({key: value, "other": 1}) == {key: "[REDACTED]", "other": 1}


def test_rsk_4_a_limit_of_tokens_is_no_secret() -> None:
    assert not holds_secret({"maxTokens": 4096, "max_tokens": 1, "monkey": "x", "tokens": 3})


@pytest.mark.parametrize(
    "text",
    [
        "prod",
        "to production now",
        "db_prod_1",
        "PROD",
        "git push --force",
        "git reset --hard HEAD",
        "the main branch",
        "Master Branch",
        "deploy it",
        "redeployed",
        "deployments",
        "deploy_to_eu",
    ],
)
def test_rsk_5_texts_that_touch_production(text: str) -> None:
    assert touches_production({"note": text})
    assert assess(call("read_file", note=text), {}, NOWHERE).level is RED


@pytest.mark.parametrize(
    "text",
    ["product", "reproduce", "productive", "--forced", "domain", "maintain", "live", "employ", "deployable", "main"],
)
def test_rsk_5_texts_that_do_not(text: str) -> None:
    """RSK-5: bare substrings such as main and live are rejected."""
    assert not touches_production({"note": text})


def test_rsk_5_an_environment_that_is_production() -> None:
    names = frozenset({"eu-west"})
    assert touches_production({"environment": "EU-West"}, names)
    assert touches_production({"env": ["eu-west"]}, names)
    assert not touches_production({"environment": "staging"}, names)
    assert not touches_production({"region": "eu-west"}, names)


def test_rsk_3_the_envelopes_map_comes_first_and_parameters_last() -> None:
    """The map may lower and raise; secrets and production cannot be lowered."""
    assert assess(call("Deploy"), {"deploy": GREEN}, NOWHERE).level is GREEN
    assert assess(call("read"), {"read": RED}, NOWHERE).level is RED
    assert assess(call("deploy", note="prod"), {"deploy": GREEN}, NOWHERE).level is RED
    assert assess(call("my_file_delete"), {}, NOWHERE).level is RED
    assert assess(call("unheard_of"), {}, NOWHERE).level is YELLOW


def test_pol_1_a_hint_raises_the_risk_and_never_lowers_it() -> None:
    def level(tool: str, hint: RiskLevel) -> RiskLevel:
        return assess(Action(type=ActionType.TOOL_CALL, tool=tool, risk=hint), {}, NOWHERE).level

    assert level("read", RED) is RED
    assert level("deploy", GREEN) is RED


def test_rsk_6_the_risk_of_a_task_without_a_tool() -> None:
    expected = {TaskType.SOCIAL: RED, TaskType.EMAIL_MARKETING: RED, TaskType.OPS: YELLOW, TaskType.ENGINEERING: YELLOW}
    assert {kind: task_risk(kind) for kind in TaskType} == {kind: expected.get(kind, GREEN) for kind in TaskType}


# --- Redaction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [text for text in SECRETS if text != "deploy/prod.env"])
def test_pii_4_every_match_is_replaced(text: str) -> None:
    """RSK-4: redaction replaces every match; nothing is left that would count as a secret's value."""
    twice = redact(f"see {text} and\n{text}")
    assert twice.count("[REDACTED]") >= 2
    for word in ("hunter2", "a1B2", "MIIE", "abcdefg1", "1234"):
        assert word not in twice


def test_pii_4_a_private_key_goes_with_its_body() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEbody==\n-----END RSA PRIVATE KEY-----"
    assert redact(f"before {key} after") == "before [REDACTED] after"


def test_pii_4_previews_take_the_broad_list() -> None:
    assert redact("--password hunter2") == "--password [REDACTED]"
    assert "hunter2" not in preview({"command": "login --token hunter2"})


def test_tol_3_a_preview_has_600_characters_at_most() -> None:
    """TOL-3: a text is cut as it is, other values as JSON; redacted before it is cut."""
    assert preview("x" * 600) == "x" * 600
    assert preview("x" * 601) == "x" * 597 + "..."
    assert preview({"a": ["é", 1, None]}) == '{"a": ["é", 1, null]}'
    assert preview({"a": "y" * 700}).startswith('{"a": "yyy')
    assert "ghp_" not in preview("x" * 590 + " ghp_" + "a" * 36)


def test_long_texts_are_looked_at_in_reasonable_time() -> None:
    """No pattern takes more than a walk or two over the text."""
    for piece in (
        "token ",
        "-----BEGIN PRIVATE KEY-----\n",
        "bearer a",
        "sk-",
        ".env.",
        "find / ",
        "password" + " " * 50,
    ):
        redact(piece * (200_000 // len(piece)))


def test_arguments_may_not_be_too_deep() -> None:
    def nested(depth: int) -> Any:
        value: Any = "x"
        for _ in range(depth):
            value = [value]
        return value

    assert not is_too_deep(nested(64))
    assert is_too_deep(nested(66))
    assert is_too_deep(nested(50_000))
    assert not is_too_deep({"a": {"b": [1, "x"]}})


# --- What goes out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "violations", "flags"),
    [
        ({"content": "the key is sk-" + "a1B2" * 6}, ("BLOCK_SECRET_PATTERNS",), ()),
        ({"content": "run:\ntree ."}, ("BLOCK_DIRECTORY_DUMP",), ()),
        ({"text": "ls -lR /srv"}, ("BLOCK_DIRECTORY_DUMP",), ()),
        ({"text": "a && find . -type f"}, ("BLOCK_DIRECTORY_DUMP",), ()),
        ({"text": "dir /s"}, ("BLOCK_DIRECTORY_DUMP",), ()),
        ({"text": "Get-ChildItem C:\\ -Recurse"}, ("BLOCK_DIRECTORY_DUMP",), ()),
        ({"text": "hi", "channel": "TELEGRAM", "streaming": True}, ("FINAL_REPLIES_ONLY",), ()),
        ({"text": "hi", "channel": "TELEGRAM", "streaming": False}, (), ()),
        ({"text": "hi", "source": "DM"}, (), ("UNTRUSTED_DM_INPUT",)),
        ({"text": "a decision tree of three levels, ls and find"}, (), ()),
        ({}, (), ()),
    ],
)
def test_rsk_7_what_may_not_go_out(args: dict[str, Any], violations: tuple[str, ...], flags: tuple[str, ...]) -> None:
    assert outbound_faults(args) == (violations, flags)
