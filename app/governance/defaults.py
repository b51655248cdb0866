"""What a new tenant starts with: its policy as data (TEN-2, RSK-8, LOOP-1)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

ENVELOPE_NAME: Final = "Default"
ADVISED_OPERATORS: Final = 3
"""RED needs two votes, and whoever asks has none of them (APR-2, APR-5, decision 25)."""

SHELL_ALLOW: Final = (
    *("ls", "pwd", "cat", "head", "tail", "grep", "find", "echo"),
    *("git status", "git diff", "git log", "git branch", "git add", "git commit", "git checkout -b"),
    *("npm test", "npm run lint", "npm run typecheck", "npm run build"),
    *("node scripts/", "python scripts/"),
)
"""What a shell command may begin with (RSK-8)."""
SHELL_BLOCK: Final = (
    *("rm -rf", "sudo", "chmod 777", "chown", "dd", "mkfs"),
    *("curl | bash", "wget | sh", "../", "~/", "/etc/", "/var/", "/usr/"),
)
"""What a shell command may not contain (RSK-8)."""
HOSTS: Final = (
    *("github.com", "api.github.com", "gitlab.com"),
    *("api.openai.com", "api.anthropic.com"),
)
"""The usual hosts of sources and models; a tenant adds the package registries that it uses (RSK-8)."""
UNWRITABLE: Final = (".env*", "config/**", "package-lock.json", "node_modules/**")
"""Files that may not be written (RSK-8)."""
LOOP_THRESHOLDS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "windowMinutes": 30,
        "maxCommentsPerWindow": 20,
        "maxReviewCycles": 3,
        "backAndForthWindowMinutes": 60,
        "backAndForthLimit": 6,
        "pingPongWindowMinutes": 10,
        "maxPingPong": 8,
        "toolRetryLimit": 3,
    }
)
"""When going in circles counts as a loop (LOOP-1)."""


def default_envelope() -> dict[str, Any]:
    """The columns of the policy that a new tenant starts with: guided (tier 1), RED only with approval (TEN-2)."""
    return {
        "name": ENVELOPE_NAME,
        "attached_to_tenant": True,
        "autonomy_tier": 1,
        "approval_triggers": ["risk:RED"],
        "shell_allowlist": list(SHELL_ALLOW),
        "shell_blocklist": list(SHELL_BLOCK),
        "network_allowlist": list(HOSTS),
        "file_write_paths": [f"!{glob}" for glob in UNWRITABLE],
        "loop_thresholds": dict(LOOP_THRESHOLDS),
    }
