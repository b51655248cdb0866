"""Secrets at rest (decision 20, PII-4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.keys import KeyUnusable
from app.sealing import FILE_NAME, CannotUnseal, Seal, open_seal
from app.settings import Environment, Secret, Settings

_SECRET = "s" * 32


@given(text=st.text())
def test_what_is_sealed_comes_back_and_does_not_show(text: str) -> None:
    seal = Seal(_SECRET)
    sealed = seal.seal(text)
    assert seal.unseal(sealed) == text
    assert sealed != seal.seal(text), "the same secret twice must not look the same"
    assert len(text) < 4 or text not in sealed
    assert Seal(_SECRET).unseal(sealed) == text, "every gateway with the same key can read it"


def test_another_key_or_a_changed_text_is_refused() -> None:
    sealed = Seal(_SECRET).seal("hush")
    with pytest.raises(CannotUnseal, match="another FLEETGRAPH_SECRET_KEY"):
        Seal("t" * 32).unseal(sealed)
    middle = len(sealed) // 2
    changed = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]
    for broken in (changed, sealed[:-8], "v1.", "v1.%%%"):
        with pytest.raises(CannotUnseal):
            Seal(_SECRET).unseal(broken)
    with pytest.raises(CannotUnseal, match="not sealed by this gateway"):
        Seal(_SECRET).unseal("hush")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(KeyUnusable, match="at least 32"):
        Seal("short")


def test_development_makes_its_secret_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    first, second = open_seal(settings), open_seal(settings)
    assert first is not None
    assert second is not None
    assert second.unseal(first.seal("hush")) == "hush"
    made = tmp_path / "keys" / FILE_NAME
    assert made.stat().st_mode & 0o777 == 0o600
    made.chmod(0o640)
    with pytest.raises(KeyUnusable, match="open to others"):
        open_seal(settings)


def test_production_makes_nothing_up(tmp_path: Path) -> None:
    assert open_seal(Settings(data_dir=tmp_path, environment=Environment.PRODUCTION)) is None
    assert not (tmp_path / "keys").exists()
    given_key = Settings(data_dir=tmp_path, environment=Environment.PRODUCTION, secret_key=Secret(_SECRET))
    seal = open_seal(given_key)
    assert seal is not None
    assert seal.unseal(Seal(_SECRET).seal("hush")) == "hush"
