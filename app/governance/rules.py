"""Rules of governance: pure data and pure functions, no I/O."""

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from db.enums import RiskLevel
from db.enums.described import Described

_GREEN: Final = """
    read read_file search grep glob list_dir list_files web_search think read_db query_db post_comment create_doc
    generate_draft analyze_data qc_report memory_search tts
"""
_YELLOW: Final = """
    write write_file edit edit_file create_file delete_file rename_file shell exec bash shell_exec web_fetch http fetch
    http_request network_call git_commit git_push create_branch install_deps modify_cron cron browser sessions_spawn
    qc_scan
"""
_RED: Final = """
    deploy deploy_prod publish git_force_push rm_rf destructive_shell drop_table database_write send_email send_message
    message post_social tweet post_linkedin payment spawn_agent modify_prod_config access_secrets read_env
    external_api_write gateway
"""
_PARTS: Final[Mapping[RiskLevel, tuple[str, ...]]] = {
    RiskLevel.RED: (
        *("database_write", "database_delete", "file_delete", "system_command", "payment_process", "user_delete"),
    ),
    RiskLevel.YELLOW: (
        *("database_update", "file_write", "email_send", "slack_post", "api_post", "api_put", "api_delete"),
    ),
    RiskLevel.GREEN: ("database_read", "file_read", "user_info", "api_get"),
}

BASE_RISK: Final[Mapping[str, RiskLevel]] = MappingProxyType(
    {
        name: level
        for level, names in ((RiskLevel.GREEN, _GREEN), (RiskLevel.YELLOW, _YELLOW), (RiskLevel.RED, _RED))
        for name in names.split()
    }
)
"""Risk of a tool by its exact name in lower case (RSK-2)."""

_SEVERITY: Final = {level: severity for severity, level in enumerate(RiskLevel)}


def base_risk(tool: str) -> RiskLevel:
    """Risk of a tool before any policy and any argument: its exact name, else the most severe list that has a part of
    it, else YELLOW (RSK-3)."""
    name = tool.casefold()
    if (known := BASE_RISK.get(name)) is not None:
        return known
    for level, parts in _PARTS.items():
        if any(part in name for part in parts):
            return level
    return RiskLevel.YELLOW


def is_riskier(level: RiskLevel, than: RiskLevel) -> bool:
    """Whether one level is above another (RSK-1)."""
    return _SEVERITY[level] > _SEVERITY[than]


_NO_LETTER: Final = re.compile(r"[^a-z0-9]")
_SECRET_ENDINGS: Final = (
    *("secret", "password", "passwd", "apikey", "secretkey", "accesskey", "privatekey", "credentials", "token"),
)
_SECRET_NAMES: Final = frozenset({"pwd", "authheader", "authorization"})


def names_secret(key: str) -> bool:
    """Whether a key's name says that its value is a secret: client_secret and GITHUB_TOKEN do, maxTokens does not
    (RSK-4)."""
    name = _NO_LETTER.sub("", key.casefold())
    return name.endswith(_SECRET_ENDINGS) or name in _SECRET_NAMES


# --- Requests for approval (APR-1 to APR-6) ---------------------------------------------------------------------------

_HOURS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "TOOL_EXECUTION": 1,
        "RUN_START": 1,
        "SPAWN": 1,
        "OPERATOR_OVERRIDE": 1,
        "INSTANCE_QUARANTINE": 2,
        "INSTANCE_REACTIVATION": 12,
        "TRANSITION": 24,
        "COMPLETE_TASK": 24,
        "BUDGET_OVERRIDE": 24,
        "WORKFLOW_STEP_RETRY": 24,
        "ROLE_GRANT": 24,
        "VERSION_PROMOTION": 48,
        "DEPLOYMENT": 48,
        "POLICY_AUTONOMY_INCREASE": 72,
    }
)
REQUEST_TYPES: Final = tuple(_HOURS)
"""What approval can be asked for (APR-1)."""
LONGEST_REQUEST: Final = timedelta(days=7)
"""How long a request may stay open at most (APR-6)."""
ALWAYS_DECIDED: Final = frozenset(
    {"VERSION_PROMOTION", "DEPLOYMENT", "POLICY_AUTONOMY_INCREASE", "INSTANCE_REACTIVATION", "BUDGET_OVERRIDE"}
)
"""Requests that a person decides on whatever their risk (APR-3)."""


REQUEST_TARGETS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "VERSION_PROMOTION": "AgentVersion",
        "DEPLOYMENT": "Deployment",
        "INSTANCE_REACTIVATION": "AgentInstance",
        "INSTANCE_QUARANTINE": "AgentInstance",
        "BUDGET_OVERRIDE": "AgentInstance",
        "POLICY_AUTONOMY_INCREASE": "PolicyEnvelope",
        "COMPLETE_TASK": "Task",
    }
)
"""What a request must be about, where its approval is looked for by that row (APR-13)."""
_NEEDS_WAY_BACK: Final = frozenset({"DEPLOYMENT", "VERSION_PROMOTION"})
HIGHEST_ESCALATION: Final = 3
"""1 tells all approvers, 2 the admins, 3 raises an alert (APR-8)."""


class ApprovalChoice(Described):
    """What a person says to a request (APR-4)."""

    APPROVE = "APPROVE", "Let it happen; RED needs two people who say so, each with a reason."
    DENY = "DENY", "Refuse it, with a reason; one person suffices."


def needs_way_back(request_type: str, risk: RiskLevel) -> bool:
    """Whether a request must say how to put things back (APR-1)."""
    return risk is RiskLevel.RED or request_type in _NEEDS_WAY_BACK


def needs_reason(choice: ApprovalChoice, risk: RiskLevel | None) -> bool:
    """Whether a vote needs a reason (APR-4)."""
    return choice is ApprovalChoice.DENY or risk is RiskLevel.RED


def request_lifetime(request_type: str) -> timedelta:
    """How long a request stays open where it does not say so itself; 24 hours for a type that has no entry (APR-6)."""
    return timedelta(hours=_HOURS.get(request_type, 24))


def votes_needed(risk: RiskLevel | None, asked: int | None = None) -> int:
    """Votes that approve: two for RED, else one; a caller may raise the number and never lower it (APR-2)."""
    return max(2 if risk is RiskLevel.RED else 1, asked or 1)


def approves_itself(request_type: str, risk: RiskLevel | None) -> bool:
    """Whether a request is approved as it is made: GREEN ones are, save those that a person always decides (APR-3)."""
    return risk is RiskLevel.GREEN and request_type not in ALWAYS_DECIDED
