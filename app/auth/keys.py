"""The gateway's own signing key (ES256).

Where it comes from:

- ``FLEETGRAPH_SECRET_KEY`` is set: derived from it, so that every gateway with the same secret has the same key and
  nothing is stored. The way for production.
- It is not set, and no OIDC issuer either (development): a file in the data directory, made on the first run.
- It is not set, and an OIDC issuer is: there is no such key. A production gateway never falls back to a file of one
  machine, which another gateway would not have; agents then cannot be given tokens until the secret is set.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

ALGORITHM: Final = "ES256"
"""The one algorithm of the gateway's own tokens."""
FILE_NAME: Final = "signing.jwk"
_CURVE: Final = "P-256"
_DERIVATION: Final = b"fleetgraph token signing 1"
_SHORTEST_SECRET: Final = 32


class KeyUnusable(Exception):
    """The signing key cannot be had. The message says why, and what to do."""


def derive_key(secret: str) -> ECKey:
    """The signing key that belongs to this secret (HKDF with SHA-256): the same on every machine, for ever.

    Raises KeyUnusable for a secret of fewer than 32 characters.
    """
    if len(secret) < _SHORTEST_SECRET:
        raise KeyUnusable(
            f"FLEETGRAPH_SECRET_KEY has {len(secret)} characters and needs at least {_SHORTEST_SECRET}. "
            "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    key = ECKey.derive_key(secret, _CURVE, kdf_name="HKDF", kdf_options={"salt": b"fleetgraph", "info": _DERIVATION})
    key.ensure_kid()
    return key


def load_or_create_key(directory: Path) -> ECKey:
    """The signing key of this data directory's ``keys``; made on first use, readable by its owner alone.

    Any number of processes may come here at once: one key wins, whole, and all of them get it.
    Raises KeyUnusable where the file is damaged, open to others, or cannot be made.
    """
    path = directory / FILE_NAME
    try:
        if not path.exists():
            _create(path)
        return _load(path)
    except OSError as error:
        raise KeyUnusable(
            f"The signing key {path} cannot be read or made: {error.strerror or error}. Make the directory writable, "
            "or set FLEETGRAPH_SECRET_KEY, which needs no file."
        ) from error


def _create(path: Path) -> None:
    key = ECKey.generate_key(_CURVE, private=True, auto_kid=True)
    write_once(path, json.dumps(key.as_dict(private=True)))


def write_once(path: Path, secret: str) -> None:
    """Write a secret beside the path, then give it the name in one step, unless somebody else was faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp's file is 0600 from its first moment, whatever the umask.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)


def _load(path: Path) -> ECKey:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise KeyUnusable(f"The signing key {path} is open to others (mode {mode:03o}). Close it: chmod 600 {path}")
    try:
        key = ECKey.import_key(json.loads(path.read_bytes()))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise KeyUnusable(
            f"The signing key {path} is damaged. Remove it; a new one is made, and tokens issued so far stop working."
        ) from error
    if not key.is_private or key.curve_name != _CURVE:
        raise KeyUnusable(f"The signing key {path} is not a private {_CURVE} key. Remove it; a new one is made.")
    key.ensure_kid()
    return key
