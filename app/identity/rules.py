"""Personal data, made unrecognisable: pure functions (PII-1 to PII-3)."""

import hashlib
import ipaddress
import re
from typing import Any, Final

_MASK: Final = "***"
_VERSION: Final = re.compile(r"/[^\s;,()]+|\b[vV]?\d+(?:[._]\d+)*\b")
_BRACKETS: Final = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}")


def mask_email(email: str) -> str:
    """An e-mail address as others see it: ``john.doe@example.com`` -> ``j***@e***.com`` (PII-1).

    The local part and the domain's first label keep their first letter, unless that is all there is of them. Text that
    is no address is masked whole.
    """
    local, at, domain = email.rpartition("@")
    if not at:
        return _MASK
    label, dot, rest = domain.partition(".")
    return f"{_mask_word(local)}@{_mask_word(label)}{dot}{rest}"


def _mask_word(word: str) -> str:
    return word[0] + _MASK if len(word) > 1 else _MASK


def pseudonym(email: str) -> str:
    """The name a person has in audit rows: ``user_`` and 16 hex digits of the address's SHA-256 (PII-2).

    The same for every spelling in case and surrounding blanks.
    """
    return f"user_{hashlib.sha256(email.strip().lower().encode(errors='surrogatepass')).hexdigest()[:16]}"


def truncate_ip(address: str) -> str:
    """A network address cut so far that it names a neighbourhood and no machine (PII-3).

    IPv4 loses its last octet; IPv6 is expanded and keeps its first three groups; an IPv4 address written as IPv6 is
    treated as IPv4. Anything else becomes 16 hex digits of its SHA-256.
    """
    try:
        parsed = ipaddress.ip_address(address.strip().strip("[]"))
    except ValueError:
        return hashlib.sha256(address.encode(errors="surrogatepass")).hexdigest()[:16]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return ":".join(f"{parsed.packed[at] << 8 | parsed.packed[at + 1]:x}" for at in (0, 2, 4)) + "::"
        parsed = parsed.ipv4_mapped
    return ".".join(str(parsed).split(".")[:3]) + ".0"


def simplify_user_agent(user_agent: str) -> str:
    """A browser's or program's name for itself, without version numbers and without what it says in brackets (PII-3).

    ``Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0`` -> ``Mozilla Gecko Firefox``
    """
    kept, before = user_agent, None
    while before != kept:
        before, kept = kept, _BRACKETS.sub(" ", kept)
    return " ".join(_VERSION.sub(" ", kept).split())


# --- What is given for people and places ------------------------------------------------------------------------------

LONGEST_ADDRESS: Final = 254
"""Characters of an e-mail address."""
_ADDRESS: Final = re.compile(r"[^@\s<>\"]+@[^@\s<>\".]+(?:\.[^@\s<>\".]+)+")


def is_address(text: str) -> bool:
    """Whether a text has the shape of an e-mail address that an invitation can go to."""
    return len(text) <= LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


def environment_fault(config: Any) -> str | None:
    """What is wrong with an environment's configuration; None where nothing is (INS-5)."""
    if config is None:
        return None
    if not isinstance(config, dict):
        return "The configuration is a JSON object."
    if not isinstance(config.get("requireActiveDeployment", False), bool):
        return "`requireActiveDeployment` is true or false."
    return None


def swarm_fault(config: Any) -> str | None:
    """What is wrong with a project's swarm configuration; None where nothing is."""
    if config is None:
        return None
    if not isinstance(config, dict):
        return "The swarm configuration is a JSON object."
    most = config.get("maxAgents")
    if type(most) is not int or most < 0:
        return "`maxAgents` is a whole number, 0 or more."
    if not isinstance(config.get("autoScale"), bool):
        return "`autoScale` is true or false."
    if not isinstance(config.get("defaultModel"), str | None):
        return "`defaultModel` is the name of a model."
    return None


def policy_defaults_fault(defaults: Any) -> str | None:
    """What is wrong with a project's policy defaults; None where nothing is."""
    if defaults is None:
        return None
    parts = ("budgetDefaults", "riskThresholds")
    if not isinstance(defaults, dict) or not all(isinstance(defaults.get(one, {}), dict | None) for one in parts):
        return "The policy defaults are a JSON object with the objects `budgetDefaults` and `riskThresholds`."
    return None


LONGEST_KEPT_DAYS: Final = 3_650
"""Most days that a tenant may have rows kept for that have an end (RET)."""
_KEPT: Final = ("notificationDays", "webhookDeliveryDays", "evaluationRunDays")
_LONGEST_STALE_MS: Final = 7 * 86_400_000
_LONGEST_SLA_MINUTES: Final = 30 * 1_440


def settings_fault(settings: Any) -> str | None:
    """What is wrong with a tenant's settings; None where nothing is. Keys that the gateway does not know are open."""
    if settings is None:
        return None
    if not isinstance(settings, dict):
        return "The settings are a JSON object."
    for name in ("safetyFloor", "heartbeat", "retention"):
        if not isinstance(settings.get(name), dict | None):
            return f"`{name}` is a JSON object."
    if not isinstance(settings.get("missionStatement"), str | None):
        return "`missionStatement` is a text."
    tier = (settings.get("safetyFloor") or {}).get("maxTier")
    if tier is not None and not _is_whole(tier, 0, 5):
        return "`safetyFloor.maxTier` is a tier, 0 to 5."
    stale = (settings.get("heartbeat") or {}).get("staleMs")
    if stale is not None and not _is_whole(stale, 1, _LONGEST_STALE_MS):
        return f"`heartbeat.staleMs` is a whole number of milliseconds, 1 to {_LONGEST_STALE_MS} (a week)."
    sla = settings.get("approvalSlaMinutes")
    if sla is not None and not _is_whole(sla, 1, _LONGEST_SLA_MINUTES):
        return f"`approvalSlaMinutes` is a whole number of minutes, 1 to {_LONGEST_SLA_MINUTES} (30 days)."
    for name in _KEPT:
        days = (settings.get("retention") or {}).get(name)
        if days is not None and not _is_whole(days, 1, LONGEST_KEPT_DAYS):
            return f"`retention.{name}` is a whole number of days, 1 to {LONGEST_KEPT_DAYS} (RET)."
    return None


def highest_tier(settings: Any) -> int | None:
    """The tier that no policy passes, by a tenant's settings; None where they name none (POL-5)."""
    floor = settings.get("safetyFloor") if isinstance(settings, dict) else None
    tier = floor.get("maxTier") if isinstance(floor, dict) else None
    return tier if _is_whole(tier, 0, 5) else None


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
