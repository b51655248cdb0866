"""Commands of a test's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import pytest

from app.auth.actor import ActorKind
from app.commands import COMMANDS, Command
from db.enums import ChangeRecordType

Body = Callable[..., Awaitable[Any]]


class Declare(Protocol):
    """Makes a function a command; returns its name."""

    def __call__(self, function: Body, **options: Any) -> str: ...


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Make a function a command for as long as the test lasts; `options` are further columns of `Command`."""

    def add(function: Body, **options: Any) -> str:
        name = function.__name__
        made = Command(
            name,
            function,
            "write:projects",
            ChangeRecordType.PROJECT_CREATED,
            frozenset({ActorKind.OPERATOR}),
            is_sensitive=False,
            **options,
        )
        monkeypatch.setitem(COMMANDS, name, made)
        return name

    return add


@pytest.fixture
def declare_brief(declare: Declare) -> Declare:
    """Make a function a command that is tried with a single statement first (db/brief.py)."""
    return partial(declare, mostly_brief=lambda _given: True)
