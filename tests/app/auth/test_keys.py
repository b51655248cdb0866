"""The gateway's own signing key: made once, whole, and for its owner's eyes."""

import json
import multiprocessing
import os
import stat
from multiprocessing.pool import Pool
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, RSAKey

from app.auth.keys import FILE_NAME, KeyUnusable, derive_key, load_or_create_key

SECRET = "a secret of the operator's own, long enough"


def test_the_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = load_or_create_key(tmp_path / "keys")
    assert first.is_private
    assert load_or_create_key(tmp_path / "keys").as_dict(private=True) == first.as_dict(private=True)
    assert os.listdir(tmp_path / "keys") == [FILE_NAME]


def test_only_the_owner_can_read_the_key_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create_key(tmp_path / "keys")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys" / FILE_NAME).stat().st_mode) == 0o600


def _key_id(directory: Path) -> str | None:
    return load_or_create_key(directory).kid


def test_processes_that_start_together_get_one_key(tmp_path: Path) -> None:
    pool: Pool
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.map(_key_id, [tmp_path / "keys"] * 16, chunksize=1)
    assert len(set(found)) == 1
    assert os.listdir(tmp_path / "keys") == [FILE_NAME]


def test_a_key_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    load_or_create_key(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o644)
    with pytest.raises(KeyUnusable, match=r"mode 644.*chmod 600"):
        load_or_create_key(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"kty": "EC"}',
        json.dumps(ECKey.generate_key("P-256", private=True).as_dict(private=False)),
        json.dumps(ECKey.generate_key("P-384", private=True).as_dict(private=True)),
        json.dumps(RSAKey.generate_key(2048, private=True).as_dict(private=True)),
    ],
    ids=["empty", "null", "list", "object", "half", "public", "other curve", "other type"],
)
def test_a_damaged_key_is_refused_with_the_remedy(tmp_path: Path, content: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyUnusable, match="Remove it"):
        load_or_create_key(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyUnusable, match="FLEETGRAPH_SECRET_KEY"):
        load_or_create_key(tmp_path / "file" / "keys")


def test_a_secret_gives_the_same_key_on_every_machine_and_in_every_release() -> None:
    assert derive_key(SECRET).kid == "Nb8Pz7DQ_n16rExscbjo5VBTKiYjilaUctizwSH4h4k"
    assert derive_key(SECRET + "!").kid != derive_key(SECRET).kid


def test_a_short_secret_is_refused_with_the_remedy() -> None:
    with pytest.raises(KeyUnusable, match="at least 32"):
        derive_key("x" * 31)
