"""A struct read from variables: what its fields take, and what is said of the rest."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from app.from_environment import Secret, SettingsError, from_environment


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Few(Struct, frozen=True, kw_only=True, rename=lambda name: "TRIED_" + name.upper()):
    """A setting of each kind."""

    colour: Colour = Colour.RED
    whole: Annotated[int, Meta(ge=1, le=10)] = 5
    number: Annotated[float, Meta(gt=0)] = 1
    truth: bool = False
    path: Path | None = None
    text: str | None = None
    texts: tuple[str, ...] = ("a", "b")
    letters: tuple[Literal["a", "b"], ...] = ()
    secret: Secret | None = None

    def __post_init__(self) -> None:
        """Texts are for blue ones alone."""
        if self.text and self.colour is Colour.RED:
            raise SettingsError("TRIED_TEXT needs TRIED_COLOUR=blue")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("colour", "blue", Colour.BLUE),
        ("whole", "10", 10),
        ("number", "0.5", 0.5),
        ("number", "3", 3.0),
        ("truth", "True", True),
        ("truth", "0", False),
        ("path", "a/b", Path("a/b")),
        ("texts", "x, y ,", ("x", "y")),
        ("letters", "b,a", ("b", "a")),
        ("whole", "", 5),
    ],
)
def test_a_text_is_read_as_the_type_of_its_field(name: str, text: str, value: object) -> None:
    read = getattr(from_environment(Few, {f"TRIED_{name.upper()}": text}), name)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("colour", "green", "expected one of `red`, `blue`, not 'green'"),
        ("whole", "five", "expected integer, not 'five'"),
        ("whole", "1.5", "expected integer, not '1.5'"),
        ("whole", "0", "expected integer >= 1, not '0'"),
        ("whole", "11", "expected integer <= 10, not '11'"),
        ("number", "0", "expected number > 0.0, not '0'"),
        ("number", "nan", "expected number > 0.0, not 'nan'"),
        ("truth", "perhaps", "expected `true` or `false`, not 'perhaps'"),
        ("letters", "a,c", "expected list, each one of `a`, `b`, not 'a,c'"),
    ],
)
def test_what_cannot_be_used_is_told_with_what_can(name: str, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        from_environment(Few, {f"TRIED_{name.upper()}": text})
    assert str(refused.value) == f"TRIED_{name.upper()}: {said}"


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        from_environment(Few, {"TRIED_WHOLE": "0", "TRIED_TRUTH": "perhaps", "TRIED_TEXT": "abc"})
    assert [line.replace(":", " ").split()[0] for line in str(refused.value).splitlines()] == [
        "TRIED_WHOLE",
        "TRIED_TRUTH",
        "TRIED_TEXT",
    ]


def test_a_secret_is_not_shown_by_accident() -> None:
    read = from_environment(Few, {"TRIED_SECRET": "hush"})
    assert "whole=5" in repr(read)
    assert "hush" not in f"{read} {read!r} {read.secret}"
    assert read.secret is not None
    assert read.secret.reveal() == "hush"
