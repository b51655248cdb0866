"""How risky an action is, and what of it is secret (RSK-3 to RSK-7)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from app.governance.policy.action import Action, ActionType
from app.governance.rules import base_risk, is_riskier, names_secret
from app.redaction import REDACTED
from db.enums import RiskLevel, TaskType

LONGEST_PREVIEW: Final = 600
"""Characters of a preview (TOL-3)."""

_TOKENS: Final = r"""
    (?<![A-Za-z0-9]) (?:
        sk-(?:ant|proj)-[A-Za-z0-9_-]{20,}
      | (?:sk-|[sp]k_(?:live_|test_)?)[A-Za-z0-9]{20,}
      | gh[pousr]_[A-Za-z0-9]{30,}
      | github_pat_[A-Za-z0-9_]{20,}
      | xox[aboprs]-[A-Za-z0-9-]+
      | AKIA[0-9A-Z]{16}
    )
"""
# Everything up to the next five dashes goes with the header: the key's body, and the headers that an encrypted one has.
_PEM: Final = (
    r"-----BEGIN\ (?:[A-Z0-9]+\ )*PRIVATE\ KEY(?:\ BLOCK)?----- (?:[^-]|-(?!----))* (?:-----END\ [A-Z0-9 ]*-----)?"
)
_BEARER: Final = r"(?<![A-Za-z0-9]) (?i:bearer) \s{1,8} (?=[A-Za-z._~+/=-]{0,200}[0-9]) [A-Za-z0-9._~+/=-]{8,}"
_VALUE: Final = r"""(?: "[^"\n]{1,2000}" | '[^'\n]{1,2000}' | [^\s"',;]+ )"""
_NAMED: Final = (
    r"(?P<name> (?i: api[-_ ]?key | (?:secret|access|private)[-_ ]?key | secret | token | password | passwd ) ['\"]?"
    rf" \s{{0,8}} [:=] \s{{0,8}} ) {_VALUE}"
)
_ENV_FILE: Final = r"(?<![\w.]) \.env (?:\.[\w-]+)* (?![\w-])"

_SECRET: Final = re.compile(f"{_PEM} | {_TOKENS} | {_BEARER} | {_NAMED} | {_ENV_FILE}", re.VERBOSE)
# No text has a secret without one of these in it, or speaks of production without one of those: it is much cheaper to
# look for them than to search, and most texts have none.
_SECRET_HINTS: Final = (
    *(".env", "key", "token", "secret", "passw", "bearer", "-----begin"),
    *("sk-", "sk_", "pk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "akia"),
)
_PRODUCTION_HINTS: Final = ("prod", "deploy", "--force", "--hard", "branch")
_KEPT_KEY: Final = 64
"""Characters of the longest key whose verdict is kept."""
_ENV_PATH: Final = re.compile(r"(?!process\.|import\.meta\.)[\w./~-]+\.env")
# The broad list of RSK-4, for previews alone: a word that speaks of a secret, and what stands behind it.
_BROAD: Final = re.compile(
    r"(?P<name> (?i: api[-_ ]?key | secret | token | passw(?:or)?d | private[-_ ]?key | credential | auth[-_ ]?header )"
    rf" s? ['\"]? \s{{0,8}} (?: [:=] | (?i:is)\s ) ? \s{{0,8}} ) (?! \[REDACTED\] ) {_VALUE}",
    re.VERBOSE,
)

_PRODUCTION: Final = re.compile(
    r"""
    (?<![a-z]) prod(?:uction)? (?![a-z])
  | (?<![\w-]) --(?:force|hard) (?![\w-])
  | (?<![a-z]) (?:main|master) \s+ branch (?![a-z])
  | (?<![a-z]) (?P<deploy> (?:re)?deploy(?:s|ed|ment|ments)? ) (?![a-z])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ENVIRONMENT_KEYS: Final = frozenset({"environment", "env", "environmentid", "environmentslug", "environmentname"})
_NO_WORD: Final = re.compile(r"[^a-z0-9]")

_OUTBOUND_TOOLS: Final = frozenset({"message", "send_message"})
# Commands, so where a command stands: at the beginning of a line, behind a prompt, or behind another command.
_DUMPS: Final = re.compile(
    r"""
    (?: ^ | [;&|`] | \$\s ) \s{0,8}
    (?: tree (?=\s|$)
      | ls \s+ (?:-\w+\s+)* (?:-\w*R | --recursive)
      | find \s+ [./~]\S{0,200} \s+ -type
      | (?i:dir) \s+ (?:/\w\s+)* (?i:/s) (?!\w)
      | (?i:get-childitem|gci) \b [^\n;|]{0,200} (?i:-recurse)
    )
    """,
    re.VERBOSE | re.MULTILINE,
)
_TASK_RISK: Final[Mapping[TaskType, RiskLevel]] = {
    TaskType.SOCIAL: RiskLevel.RED,
    TaskType.EMAIL_MARKETING: RiskLevel.RED,
    TaskType.OPS: RiskLevel.YELLOW,
    TaskType.ENGINEERING: RiskLevel.YELLOW,
}


@dataclass(frozen=True, slots=True)
class Assessment:
    """How risky an action is, and what made it so."""

    level: RiskLevel
    has_secret: bool
    is_production: bool
    is_deployment: bool


def assess(action: Action, tool_risks: Mapping[str, RiskLevel], production: frozenset[str]) -> Assessment:
    """The risk of an action (RSK-3 to RSK-5): the envelope's map, else the built-in one; then what the arguments hold,
    which cannot be lowered; then the caller's own view where it is higher.

    `tool_risks` is keyed by the tool's name in lower case, `production` holds ids, slugs and names of environments
    that are production, in lower case.
    """
    level = _of_tool(action, tool_risks)
    has_secret, is_production, is_deployment = _look(action.args, production)
    if has_secret or is_production:
        level = RiskLevel.RED
    if action.risk is not None and is_riskier(action.risk, than=level):
        level = action.risk
    deploys = is_deployment or (action.tool is not None and action.tool.casefold() in ("deploy", "deploy_prod"))
    return Assessment(level, has_secret, is_production, deploys)


def _of_tool(action: Action, tool_risks: Mapping[str, RiskLevel]) -> RiskLevel:
    if action.tool is not None:
        return tool_risks.get(action.tool.casefold()) or base_risk(action.tool)
    # Starting an agent is what `sessions_spawn` does; everything else without a tool changes nothing outside.
    return RiskLevel.YELLOW if action.type is ActionType.SPAWN else RiskLevel.GREEN


def task_risk(kind: TaskType) -> RiskLevel:
    """The risk of a task as a whole, for a preview without a tool (RSK-6)."""
    return _TASK_RISK.get(kind, RiskLevel.GREEN)


def holds_secret(value: Any) -> bool:
    """Whether a JSON value has a secret in it: by the name of a key, or by the shape of a text (RSK-4)."""
    return any(_is_secret_key(key) or (text is not None and _is_secret(text)) for key, text in _entries(value))


def touches_production(value: Any, production: Iterable[str] = ()) -> bool:
    """Whether a JSON value speaks of production, or names an environment that is production (RSK-5)."""
    return _look(value, frozenset(one.casefold() for one in production))[1]


def _look(value: Any, production: frozenset[str]) -> tuple[bool, bool, bool]:
    """Whether there is a secret, production, and a deployment in a JSON value."""
    secret = is_production = deployment = False
    for key, text in _entries(value):
        secret = secret or _is_secret_key(key) or (text is not None and _is_secret(text))
        for words in (key, text):
            if words is not None and (found := _production_in(words)):
                is_production = True
                deployment = deployment or any(one["deploy"] for one in found)
        if key is not None and text is not None and text.casefold() in production:
            is_production = is_production or _NO_WORD.sub("", key.casefold()) in _ENVIRONMENT_KEYS
    return secret, is_production, deployment


def _production_in(words: str) -> list[re.Match[str]]:
    low = words.lower()
    for hint in _PRODUCTION_HINTS:
        if hint in low:
            return list(_PRODUCTION.finditer(words))
    return []


def _entries(value: Any) -> Iterator[tuple[str | None, str | None]]:
    """Every (key, text) inside a JSON value: the key that a value stands under, and the value where it is text."""
    waiting: list[tuple[str | None, Any]] = [(None, value)]
    while waiting:
        key, one = waiting.pop()
        if isinstance(one, str):
            yield key, one
        elif isinstance(one, Mapping):
            if key is not None:
                yield key, None
            waiting.extend(one.items())
        elif isinstance(one, list | tuple):
            if key is not None:
                yield key, None
            # What a list holds stands under the list's key: {"environment": ["prod-eu"]}.
            waiting.extend((key, item) for item in one)
        elif key is not None:
            yield key, None


def _is_secret_key(key: str | None) -> bool:
    if key is None:
        return False
    return _known_key(key) if len(key) <= _KEPT_KEY else names_secret(key)


_known_key: Final = lru_cache(maxsize=4096)(names_secret)


def _is_secret(text: str) -> bool:
    low = text.lower()
    for hint in _SECRET_HINTS:
        if hint in low:
            return _SECRET.search(text) is not None or _ENV_PATH.fullmatch(text) is not None
    return False


# --- Redaction (PII-4, TOL-3) -----------------------------------------------------------------------------------------


def redact(text: str) -> str:
    """A text with every secret replaced; where one has a name, the name stays (RSK-4, PII-4)."""
    return _BROAD.sub(_hide, _SECRET.sub(_hide, text))


def redact_value(value: Any) -> Any:
    """A JSON value with every secret replaced: whole values under a secret's name, and matches inside texts.

    `value` is no deeper than `is_too_deep` allows.
    """
    if isinstance(value, str):
        return _SECRET.sub(_hide, value)
    if isinstance(value, Mapping):
        return {key: REDACTED if names_secret(key) else redact_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(one) for one in value]
    return value


def preview(value: Any) -> str:
    """A value for people to look at: redacted, a text as it is and all else as JSON, 600 characters at most (TOL-3)."""
    text = value if isinstance(value, str) else json.dumps(redact_value(value), ensure_ascii=False)
    text = redact(text)
    return text if len(text) <= LONGEST_PREVIEW else text[: LONGEST_PREVIEW - 3] + "..."


def _hide(match: re.Match[str]) -> str:
    return (match.groupdict().get("name") or "") + REDACTED


# --- What goes out (RSK-7) --------------------------------------------------------------------------------------------


def is_outbound(action: Action) -> bool:
    """Whether the action sends words to somebody."""
    return action.type is ActionType.MESSAGE or (action.tool is not None and action.tool.casefold() in _OUTBOUND_TOOLS)


def outbound_faults(args: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Violations and flags of what goes out (RSK-7).

    `content` (or `text`, `message`, `body`) is what is said, `channel` where, `streaming` whether it is said piece by
    piece, and `source` where the words that led to it came from.
    """
    content = next((args[name] for name in ("content", "text", "message", "body") if name in args), "")
    words = content if isinstance(content, str) else json.dumps(content)
    violations = []
    if _is_secret(words):
        violations.append("BLOCK_SECRET_PATTERNS")
    if _DUMPS.search(words):
        violations.append("BLOCK_DIRECTORY_DUMP")
    if str(args.get("channel", "")).upper() == "TELEGRAM" and args.get("streaming") is True:
        violations.append("FINAL_REPLIES_ONLY")
    flags = ("UNTRUSTED_DM_INPUT",) if str(args.get("source", "")).upper() == "DM" else ()
    return tuple(violations), flags
