"""The pure evaluation of policy: microseconds a verdict, with no input and no output.

    python -m bench.policy                   # bench/results/policy.md and policy.json

Four envelopes, one a level, with 100 list entries and triggers between them; six calls that pass every check.
`warm` is what a gateway does: the compiled policy is kept while no envelope changes. `cold` compiles it each time.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import typer

from app.governance.policy import Action, ActionType, Envelope, Facts, PolicyLevel, evaluate, inheritance, resolve
from app.governance.policy.facts import Build, Spend
from bench import report
from bench.rounds import percentile
from db.enums import LifecycleState, PolicyVerdict

AIM_MICROSECONDS = 50.0
"""What a verdict may take."""
ENTRIES = 100
"""List entries and triggers of the four envelopes together."""

_TENANT = UUID(int=1)
_TOOLS = ("read_file", "write_file", "shell", "web_fetch", "search", "qc_scan")


def envelopes() -> list[Envelope]:
    """The four envelopes."""
    tools = [*_TOOLS, *(f"tool_{number}" for number in range(8)), "git_*", "crm_*"]
    tenant: dict[str, Any] = {
        "autonomy_tier": 2,
        "approval_triggers": ["risk:RED", "production", "secrets", "deployment", "cost_above:1.5", "spawn"],
        "denied_tools": [f"forbidden_{number}" for number in range(22)],
        "cost_limits": {"dailyUsd": 25.0, "perRunUsd": 2.0, "monthlyUsd": 400.0},
    }
    project: dict[str, Any] = {
        "shell_blocklist": ["rm -rf", "sudo", "chmod 777", "curl | bash", "../", "~/", "/etc/", "dd", "mkfs", "chown"],
        "network_allowlist": [f"host-{number}.example.com" for number in range(9)] + ["api.github.com"],
        "approval_triggers": [f"tool:release_{number}" for number in range(6)],
    }
    template: dict[str, Any] = {
        "file_read_paths": ["src/**", "docs/**/*.md", "*.toml", "tests/**", "!.env*", "!**/secrets/**"],
        "file_write_paths": ["src/**", "tests/**", "!config/**", "!package-lock.json", "!node_modules/**", "!.env*"],
        "shell_allowlist": ["ls", "cat", "git status", "git diff", "git add", "git commit", "npm test", "grep", "echo"],
        "allowed_task_types": ["ENGINEERING", "DOCS"],
    }
    version: dict[str, Any] = {
        "allowed_tools": tools,
        "data_scopes": ["crm:*", "shop:orders"],
        "approval_triggers": ["tool:publish", "transition:DONE", "budget:exceeded"],
        "enforcement_points": ["run", "tool"],
    }
    levels = dict(zip(reversed(list(PolicyLevel)[:4]), (tenant, project, template, version), strict=True))
    made = [
        Envelope(_TENANT, UUID(int=10 + number), 1, "2026-01-01", level, 100, values)
        for number, (level, values) in enumerate(levels.items())
    ]
    counted = sum(len(value) for one in made for value in one.values.values() if isinstance(value, list))
    if counted != ENTRIES:
        raise AssertionError(f"the envelopes have {counted} entries, not {ENTRIES}")
    return made


def actions() -> list[Action]:
    """Calls that go through every check and are allowed."""
    arguments: tuple[dict[str, Any], ...] = (
        {"path": "src/app/main.py", "encoding": "utf-8"},
        {"path": "src/app/main.py", "content": "def main() -> None:\n    print('hello')\n"},
        {"command": "git diff | grep 'class ' && git status"},
        {"url": "https://api.github.com/repos/northwind/shop/issues?state=open"},
        {"query": "seasonal vegetables in autumn", "limit": 20},
        {"target": "src", "rules": ["complexity", "naming"]},
    )
    return [
        Action(type=ActionType.TOOL_CALL, tool=tool, args=args, estimated_cost=Decimal("0.02"))
        for tool, args in zip(_TOOLS, arguments, strict=True)
    ]


def facts(found: list[Envelope]) -> Facts:
    """An instance that is at work."""
    return Facts(
        policy=resolve(found),
        build=Build(LifecycleState.APPROVED, False, frozenset(_TOOLS)),
        spend=Spend(Decimal("3.20"), Decimal("41.70")),
        production=frozenset({"prod", "production"}),
    )


def measure(ask: Callable[[Action], PolicyVerdict], rounds: int) -> list[float]:
    """Microseconds of a verdict, a mean over the calls for each round. Raises AssertionError where one is not ALLOW."""
    asked = actions()
    found = []
    gc.disable()
    try:
        for _ in range(rounds):
            started = time.perf_counter_ns()
            for action in asked:
                if ask(action) is not PolicyVerdict.ALLOW:
                    raise AssertionError(f"{action.tool} is not allowed")
            found.append((time.perf_counter_ns() - started) / len(asked) / 1000)
    finally:
        gc.enable()
    return found


def warm() -> Callable[[Action], PolicyVerdict]:
    """The policy is made of the envelopes at each call, and found compiled."""
    found = envelopes()
    build = facts(found)
    return lambda action: evaluate(_with(build, found), action).verdict


def cold() -> Callable[[Action], PolicyVerdict]:
    """The policy is compiled at each call."""
    found = envelopes()
    build = facts(found)

    def ask(action: Action) -> PolicyVerdict:
        inheritance.forget()
        return evaluate(_with(build, found), action).verdict

    return ask


def _with(build: Facts, found: list[Envelope]) -> Facts:
    return Facts(policy=resolve(found), build=build.build, spend=build.spend, production=build.production)


@dataclass(frozen=True)
class Timed:
    """One way, in microseconds a verdict."""

    way: str
    rounds: int
    median_us: float
    p99_us: float

    @property
    def said(self) -> str:
        """The figures in a line."""
        aim = f", {self.median_us / AIM_MICROSECONDS:.0%} of the aim of {AIM_MICROSECONDS:.0f}"
        figures = f"{self.median_us:.1f} µs median, {self.p99_us:.1f} µs p99"
        return f"policy, pure, {self.way}: {figures}{aim if self.way == 'warm' else ''}"


def timed(way: str, ask: Callable[[Action], PolicyVerdict], rounds: int) -> Timed:
    """So many rounds of one way."""
    times = sorted(measure(ask, rounds))
    return Timed(way, rounds, statistics.median(times), percentile(times, 99))


def markdown(page: Mapping[str, Any], found: Sequence[Timed]) -> str:
    """The page of results."""
    lines = [
        "# Policy",
        "",
        report.told(page),
        "",
        f"The pure evaluation of one call: four envelopes with {ENTRIES} entries, no input and no output. A round is "
        "six calls that pass every check. *warm*: the compiled policy is kept, as a gateway does; *cold*: it is "
        "compiled for each call.",
        "",
        *(f"- {one.said}" for one in found),
    ]
    return "\n".join(lines) + "\n"


def main(
    name: Annotated[str, typer.Option(help="Name of the files in bench/results.")] = "policy",
) -> None:
    """Measure the evaluation, and write bench/results/NAME.md and NAME.json."""
    began, load_before = report.now(), os.getloadavg()[0]
    measure(warm(), 200)
    found = [timed("warm", warm(), 2_000), timed("cold", cold(), 100)]
    for one in found:
        print(one.said)
    page = {**report.circumstances(began, load_before), "aim_us": AIM_MICROSECONDS}
    for path in report.save(name, markdown(page, found), {**page, "figures": [asdict(one) for one in found]}):
        print(f"Written: {path}")


if __name__ == "__main__":
    typer.run(main)
