"""Risk of a tool before policy and arguments, and names of secrets (RSK-1 to RSK-4)."""

import pytest

from app.governance.rules import BASE_RISK, base_risk, is_riskier, names_secret
from db.enums import RiskLevel

GREEN, YELLOW, RED = RiskLevel


def test_the_base_map_is_that_of_rsk_2() -> None:
    """RSK-2, with the three disagreements of the sources settled."""
    assert {level: list(BASE_RISK.values()).count(level) for level in RiskLevel} == {GREEN: 18, YELLOW: 25, RED: 21}
    assert (BASE_RISK["web_fetch"], BASE_RISK["cron"], BASE_RISK["delete_file"]) == (YELLOW, YELLOW, YELLOW)


@pytest.mark.parametrize(
    ("tool", "risk"),
    [
        ("Read_File", GREEN),  # exact names match in any case
        ("deploy", RED),
        ("delete_file", YELLOW),
        ("my_file_delete_v2", RED),
        ("tool.api_post", YELLOW),
        ("crm_user_info", GREEN),
        ("file_write_user_delete", RED),  # the most severe list wins, not the longest match
        ("message_external", YELLOW),
        ("constructor", YELLOW),
        ("", YELLOW),
    ],
)
def test_the_risk_of_a_tool(tool: str, risk: RiskLevel) -> None:
    """RSK-3."""
    assert base_risk(tool) is risk


def test_levels_are_ordered() -> None:
    """RSK-1."""
    assert is_riskier(RED, than=YELLOW)
    assert is_riskier(YELLOW, than=GREEN)
    assert not is_riskier(GREEN, than=GREEN)
    assert not is_riskier(YELLOW, than=RED)


@pytest.mark.parametrize("name", ["client_secret", "DB_PASSWORD", "GITHUB_TOKEN", "x-api-key", "Authorization", "pwd"])
def test_names_of_secrets(name: str) -> None:
    """RSK-4."""
    assert names_secret(name)


@pytest.mark.parametrize("name", ["maxTokens", "max_tokens", "domain", "keyboard", "tokenizer", "secretary", ""])
def test_names_of_no_secrets(name: str) -> None:
    """RSK-4: the broad lists of the former systems took maxTokens for a secret."""
    assert not names_secret(name)
