"""Which executor does which work, and how risky that is (EXE-1, RSK-6): pure data and pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from db.enums import ExecutionRequestType, ExecutorKind, RiskLevel

ROUTES: Final[Mapping[ExecutionRequestType, ExecutorKind]] = {
    ExecutionRequestType.CODE_CHANGE: ExecutorKind.CURSOR,
}
"""Kinds of work that do not go to an agent."""
RISKS: Final[Mapping[ExecutionRequestType, RiskLevel]] = {
    ExecutionRequestType.CODE_CHANGE: RiskLevel.YELLOW,
    ExecutionRequestType.RESEARCH: RiskLevel.GREEN,
    ExecutionRequestType.CONTENT: RiskLevel.GREEN,
    ExecutionRequestType.EMAIL: RiskLevel.RED,
    ExecutionRequestType.SOCIAL: RiskLevel.RED,
    ExecutionRequestType.OPS: RiskLevel.YELLOW,
}
"""How risky it is to hand such work on: as a task of that kind is (RSK-6)."""


def executor_for(kind: ExecutionRequestType, asked: ExecutorKind | None = None) -> ExecutorKind:
    """The executor of a request: the one asked for, else the one that does such work."""
    return asked or ROUTES.get(kind, ExecutorKind.OPENCLAW_AGENT)
