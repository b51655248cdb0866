"""Which executor does which work (EXE-1): pure data and pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from db.enums import ExecutionRequestType, ExecutorKind

ROUTES: Final[Mapping[ExecutionRequestType, ExecutorKind]] = {
    ExecutionRequestType.CODE_CHANGE: ExecutorKind.CURSOR,
}
"""Kinds of work that do not go to an agent."""


def executor_for(kind: ExecutionRequestType, asked: ExecutorKind | None = None) -> ExecutorKind:
    """The executor of a request: the one asked for, else the one that does such work."""
    return asked or ROUTES.get(kind, ExecutorKind.OPENCLAW_AGENT)
