"""Secrets at rest: webhook secrets, provider keys and the like, encrypted before they are stored (decision 20, PII-4).

AES-256-GCM with a key that is derived from FLEETGRAPH_SECRET_KEY, or in development from a secret that the first run
makes in the data directory. A sealed text is ``v1.`` and the base64url of nonce, ciphertext and tag; the version in
front lets a later form be told apart.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.auth.keys import KeyUnusable, write_once
from app.settings import Settings

FILE_NAME: Final = "sealing.secret"
_VERSION: Final = "v1."
_NONCE_BYTES: Final = 12
_SHORTEST_SECRET: Final = 32
_DERIVATION: Final = b"fleetgraph secrets at rest 1"


class CannotUnseal(Exception):
    """A sealed text is damaged, or was sealed with another key."""


class Seal:
    """Encrypts and decrypts with one key."""

    def __init__(self, secret: str) -> None:
        """`secret` is any text of 32 characters or more with enough chance in it. Raises KeyUnusable for less."""
        if len(secret) < _SHORTEST_SECRET:
            raise KeyUnusable(
                f"FLEETGRAPH_SECRET_KEY has {len(secret)} characters and needs at least {_SHORTEST_SECRET}. "
                "Make one with: openssl rand -base64 32"
            )
        derived = HKDF(algorithm=SHA256(), length=32, salt=b"fleetgraph", info=_DERIVATION).derive(secret.encode())
        self._cipher = AESGCM(derived)

    def seal(self, text: str) -> str:
        """The text encrypted; another result each time."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), _VERSION.encode())
        return _VERSION + base64.urlsafe_b64encode(sealed).decode()

    def unseal(self, sealed: str) -> str:
        """The text that was sealed. Raises CannotUnseal."""
        if not sealed.startswith(_VERSION):
            raise CannotUnseal("The text was not sealed by this gateway.")
        try:
            raw = base64.b64decode(sealed.removeprefix(_VERSION), altchars=b"-_", validate=True)
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _VERSION.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise CannotUnseal(
                "The secret was sealed with another FLEETGRAPH_SECRET_KEY, or is damaged. Set the key that it was "
                "sealed with, or enter the secret again."
            ) from None


def open_seal(settings: Settings) -> Seal | None:
    """The seal of these settings; None in production without FLEETGRAPH_SECRET_KEY. Raises KeyUnusable."""
    if settings.secret_key is not None:
        return Seal(settings.secret_key.reveal())
    if settings.production:
        return None
    return Seal(_load_or_create(settings.data_dir / "keys" / FILE_NAME))


def _load_or_create(path: Path) -> str:
    try:
        if not path.exists():
            write_once(path, secrets.token_urlsafe(48))
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise KeyUnusable(f"The secret {path} is open to others (mode {mode:03o}). Close it: chmod 600 {path}")
        return path.read_text().strip()
    except OSError as error:
        raise KeyUnusable(
            f"The secret {path} cannot be read or made: {error.strerror or error}. Make the directory writable, "
            "or set FLEETGRAPH_SECRET_KEY, which needs no file."
        ) from error
