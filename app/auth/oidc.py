"""Operators' tokens in production: signed by an OpenID Connect issuer, checked with the keys it publishes.

The keys are fetched once and kept. They are fetched again in the background when they have been kept for `keep`, so
that a key the issuer withdraws stops working, and at once when a token names a key that is not among them (rotation),
at most every `pause`, so that tokens with invented keys cannot make the gateway hammer the issuer. Only one fetch is
under way at a time. When the issuer cannot be reached, the known keys go on serving.
"""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from app.auth.actor import ActorKind
from app.auth.claims import Bearer, Expectation, Token, TokenRejected, peek, subject_of, text_claim

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.auth")

ASYMMETRIC: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"}
)
"""The algorithms that may be allowed at all. A shared secret is no way to trust an issuer, and `none` no signature."""
DEFAULT_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519")

_DISCOVERY: Final = "/.well-known/openid-configuration"
_LARGEST_DOCUMENT: Final = 512 * 1024
_MOST_KEYS: Final = 100
_SMALLEST_RSA: Final = 2048
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class IssuerUnusable(Exception):
    """The issuer's documents cannot be had or make no sense. The message says which, and why."""


@dataclass(frozen=True)
class OidcSettings:
    """What to demand of the issuer and its tokens. Raises ValueError for what could not be safe."""

    issuer: str
    """The issuer's URL, exactly as its tokens have it in ``iss``."""
    audience: str
    """What the tokens must have in ``aud``: this gateway's name at the issuer."""
    algorithms: Collection[str] = DEFAULT_ALGORITHMS
    tenant_claim: str = "tenant"
    """The claim with the tenant's slug; a token without it leaves the choice to the request's header."""
    skew: int = 60
    """Seconds by which clocks may differ."""
    timeout: timedelta = timedelta(seconds=5)
    """For one request to the issuer."""
    keep: timedelta = timedelta(minutes=10)
    """How long keys serve before they are fetched again."""
    pause: timedelta = timedelta(seconds=30)
    """The least time between two fetches."""

    def __post_init__(self) -> None:
        _check_address(self.issuer, "the OIDC issuer")
        if not self.audience:
            raise ValueError("The OIDC audience is empty: name this gateway as the issuer knows it.")
        unfit = sorted(set(self.algorithms) - ASYMMETRIC)
        if unfit or not self.algorithms:
            raise ValueError(
                f"These OIDC algorithms cannot be allowed: {', '.join(unfit) or '(none given)'}. "
                f"Choose from {', '.join(sorted(ASYMMETRIC))}."
            )


def _check_address(address: str, what: str) -> None:
    """Keys that came over an open line could be anybody's; this machine itself may do without TLS, for tests."""
    parts = urlsplit(address)
    if not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))):
        raise ValueError(f"The address of {what} must begin with https://, and is {address!r}.")


class OidcIssuer:
    """Verifies the tokens of one issuer. Belongs to one event loop; `close` it when that ends.

    `clock` gives seconds since the epoch and judges tokens, `stopwatch` gives monotonic seconds and times the fetches.
    """

    def __init__(
        self,
        settings: OidcSettings,
        *,
        clock: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._stopwatch = stopwatch
        self._expectation = Expectation(tuple(settings.algorithms), settings.issuer, settings.audience, settings.skew)
        self._client = httpx.AsyncClient(timeout=settings.timeout.total_seconds(), follow_redirects=False)
        self._keys: tuple[Key, ...] = ()
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None

    @property
    def issuer(self) -> str:
        """The ``iss`` of the tokens that are to be verified here."""
        return self._settings.issuer

    async def verify(self, token: str) -> Token:
        """The token's content, if the issuer signed it for this gateway and it is still good. Raises TokenRejected.

        Whatever the token claims, it stands for an operator: agents and the platform have tokens of the gateway.
        """
        bearer, claims = self._expectation.verify(token, await self._key_of(token), self._clock(), self._bearer_of)
        return Token(
            kind=bearer.kind,
            subject=bearer.subject,
            tenant=bearer.tenant,
            expires_at=self._expectation.expiry(claims),
            email=text_claim(claims, "email") if claims.get("email_verified") is True else None,
        )

    async def refresh(self) -> None:
        """Fetch the keys now, or wait for the fetch that is under way. A failure is logged, and the keys stay."""
        # One caller that gives up must not take the fetch away from the others.
        await asyncio.shield(self._begin_fetch())

    async def close(self) -> None:
        """End a fetch that is under way, and the connections."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])
        await self._client.aclose()

    def _bearer_of(self, claims: Mapping[str, Any]) -> Bearer:
        return Bearer(ActorKind.OPERATOR, subject_of(claims), text_claim(claims, self._settings.tenant_claim))

    async def _key_of(self, token: str) -> Key:
        said = peek(token)
        if said.algorithm not in self._settings.algorithms:
            raise TokenRejected(f"algorithm {said.algorithm[:20]!r} is not allowed")
        key = self._find(said.algorithm, said.key_id)
        if key is None and (self._fetch is not None or self._may_fetch()):
            await self.refresh()
            key = self._find(said.algorithm, said.key_id)
        elif self._fetch is None and self._old() and self._may_fetch():
            # Nobody waits for a fetch while there is a key to go by.
            self._begin_fetch()
        if key is None:
            raise TokenRejected("no published key fits the token")
        return key

    def _find(self, algorithm: str, key_id: str | None) -> Key | None:
        fitting = [
            key
            for key in self._keys
            if key.key_type == _KEY_TYPE[algorithm[:2]]
            and key.get("alg") in (None, algorithm)
            and key_id in (None, key.get("kid"))
        ]
        # Without a key id there must be no choice.
        return fitting[0] if len(fitting) == 1 else None

    def _old(self) -> bool:
        return self._stopwatch() - self._fetched_at > self._settings.keep.total_seconds()

    def _may_fetch(self) -> bool:
        pause = self._settings.pause.total_seconds() if self._keys else min(1, self._settings.pause.total_seconds())
        return self._stopwatch() - self._tried_at >= pause

    def _begin_fetch(self) -> asyncio.Task[None]:
        if self._fetch is None:
            self._tried_at = self._stopwatch()
            self._fetch = asyncio.create_task(self._fetch_keys(), name="oidc-keys")
            self._fetch.add_done_callback(self._fetch_ended)
        return self._fetch

    def _fetch_ended(self, task: asyncio.Task[None]) -> None:
        self._fetch = None
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("oidc_keys_fault", issuer=self._settings.issuer, exc_info=fault)

    async def _fetch_keys(self) -> None:
        try:
            found = await self._published_keys()
        except (IssuerUnusable, httpx.HTTPError, httpx.InvalidURL) as error:
            log.warning(
                "oidc_keys_not_fetched",
                issuer=self._settings.issuer,
                reason=str(error) or type(error).__name__,
                known_keys=len(self._keys),
            )
            return
        self._keys = found
        self._fetched_at = self._stopwatch()
        log.info("oidc_keys_fetched", issuer=self._settings.issuer, keys=len(found))

    async def _published_keys(self) -> tuple[Key, ...]:
        document = await self._document(self._settings.issuer.rstrip("/") + _DISCOVERY)
        if document.get("issuer") != self._settings.issuer:
            raise IssuerUnusable(f"the discovery document is for the issuer {document.get('issuer')!r}")
        address = document.get("jwks_uri")
        if not isinstance(address, str):
            raise IssuerUnusable("the discovery document has no jwks_uri")
        try:
            _check_address(address, "the key set")
        except ValueError as error:
            raise IssuerUnusable(str(error)) from error
        entries = (await self._document(address)).get("keys")
        if not isinstance(entries, list):
            raise IssuerUnusable("the key set has no list of keys")
        keys = tuple(key for key in map(_signing_key, entries[:_MOST_KEYS]) if key is not None)
        if not keys:
            raise IssuerUnusable("the key set has no key that could verify a signature")
        return keys

    async def _document(self, address: str) -> dict[str, Any]:
        body = bytearray()
        async with self._client.stream("GET", address, headers={"Accept": "application/json"}) as response:
            if response.status_code != httpx.codes.OK:
                raise IssuerUnusable(f"{address} answered {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST_DOCUMENT:
                    raise IssuerUnusable(f"{address} answered more than {_LARGEST_DOCUMENT} bytes")
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise IssuerUnusable(f"{address} did not answer with JSON") from error
        if not isinstance(value, dict):
            raise IssuerUnusable(f"{address} did not answer with a JSON object")
        return value


_KEY_TYPE: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
"""By the first two letters of the algorithm."""


def _signing_key(entry: object) -> Key | None:
    """A key of the set, or None for one that cannot verify signatures: symmetric, for encryption, weak, or broken.

    One bad key must not keep the good ones from serving (RFC 7517, section 5).
    """
    if not isinstance(entry, dict) or entry.get("kty") not in _KEY_TYPE.values():
        return None
    if entry.get("use") not in (None, "sig"):
        return None
    if entry["kty"] == "RSA" and len(str(entry.get("n"))) * 6 < _SMALLEST_RSA:
        return None
    try:
        key = JWKRegistry.import_key(entry)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None
