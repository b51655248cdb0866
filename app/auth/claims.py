"""What every bearer token goes through, whoever signed it: shape, algorithm, signature, and the registered claims."""

import base64
import binascii
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from app.auth.actor import ActorKind

LONGEST_TOKEN: Final = 16_384
"""Characters; a longer token is refused before anything is decoded."""
LONGEST_NAME: Final = 255
"""Characters of a subject, and of the other claims that are looked up as text."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token names whose signature holds."""

    kind: ActorKind
    subject: str
    """An operator's subject at the issuer, or an instance's UUID."""
    tenant: str | None
    """Slug of the tenant the token was issued for; None if it does not say."""


class TokenRejected(Exception):
    """The token is not good. The reason is for the log and for the tenant's own journal: outside, every rejection reads
    the same."""

    def __init__(self, reason: str, *, bearer: Bearer | None = None, known: tuple[UUID, UUID] | None = None) -> None:
        """`bearer` is whom the token names, where its signature holds and its claims do not; `known` is (tenant,
        operator or instance) of a caller that the database has and lets in no more."""
        super().__init__(reason)
        self.reason = reason
        self.bearer = bearer
        self.known = known


class AnotherTenant(TokenRejected):
    """The request names another tenant than the token does."""


@dataclass(frozen=True, slots=True)
class Token(Bearer):
    """A token whose signature and claims hold. Who it stands for is not yet known to exist."""

    expires_at: datetime
    """When it stops being good (UTC), clock skew allowed for."""
    epoch: int | None = None
    """For instances: the token epoch it was issued in (decision 26)."""
    email: str | None = None
    """An e-mail address that the issuer has verified; None otherwise (decision 27)."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """What an unverified token says about itself: enough to choose the key that will judge it, and no more."""

    algorithm: str
    key_id: str | None
    issuer: str


def peek(token: str) -> Unverified:
    """Take a token apart without trusting it. Raises TokenRejected unless it is a compact JWS with a JSON payload."""
    if len(token) > LONGEST_TOKEN:
        raise TokenRejected(f"longer than {LONGEST_TOKEN} characters")
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise TokenRejected("not three parts")
    header, payload = _json_object(parts[0], "header"), _json_object(parts[1], "payload")
    algorithm, key_id, issuer = header.get("alg"), header.get("kid"), payload.get("iss")
    if not isinstance(algorithm, str):
        raise TokenRejected("no algorithm")
    if key_id is not None and not isinstance(key_id, str):
        raise TokenRejected("key id is not text")
    if not isinstance(issuer, str):
        raise TokenRejected("no issuer")
    return Unverified(algorithm, key_id, issuer)


def _json_object(part: str, name: str) -> Mapping[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise TokenRejected(f"{name} is not JSON") from error
    if not isinstance(value, dict):
        raise TokenRejected(f"{name} is not an object")
    return value


class _AllowList(JWSRegistry):
    """The allow-list and nothing else: no algorithm of the library's own choice when the list is empty, and no warning
    over the name EdDSA, which older issuers use for Ed25519."""

    def get_alg(self, name: str) -> JWSAlgModel:
        if name not in (self.allowed or ()) or name not in self.algorithms:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name[:20]}' is not allowed")
        return self.algorithms[name]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a verifier demands of a token's header and registered claims."""

    algorithms: Collection[str]
    """Allow-list; what is not in it is refused."""
    issuer: str
    audience: str
    skew: int = 60
    """Seconds by which clocks may differ, for exp, nbf and iat."""

    def verify(
        self, token: str, key: Key, now: float, bearer_of: Callable[[Mapping[str, Any]], Bearer]
    ) -> tuple[Bearer, dict[str, Any]]:
        """Whom a token names that this key signed and whose issuer, audience and times are right at `now`, and all of
        its claims.

        Raises TokenRejected; where the signature holds, with whom `bearer_of` finds in the claims.
        """
        registry = _AllowList(algorithms=self.algorithms, strict_check_header=False)
        rules = jwt.JWTClaimsRegistry(
            now=int(now),
            leeway=self.skew,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(token, key, registry=registry).claims
            bearer = bearer_of(claims)
            try:
                rules.validate(claims)
            except JoseError as error:
                raise TokenRejected(f"{error.error}: {error.description}", bearer=bearer) from error
        except JoseError as error:
            raise TokenRejected(f"{error.error}: {error.description}") from error
        # What the library does not foresee in the header of a hostile token must not become a fault of ours.
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise TokenRejected(f"malformed: {type(error).__name__}") from error
        return bearer, claims

    def expiry(self, claims: Mapping[str, Any]) -> datetime:
        """When a verified token stops being good. Raises TokenRejected for a time beyond the calendar."""
        try:
            return datetime.fromtimestamp(claims["exp"] + self.skew, UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise TokenRejected("expiry is beyond the calendar") from error


def text_claim(claims: Mapping[str, Any], name: str) -> str | None:
    """A claim that is looked up as text, or None if the token lacks it.

    Raises TokenRejected for what Postgres could not compare: not text, empty, too long, NUL, or a lone surrogate.
    """
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or "\x00" in value:
        raise TokenRejected(f"claim {name} is not usable text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise TokenRejected(f"claim {name} is not usable text") from error
    return value


def subject_of(claims: Mapping[str, Any]) -> str:
    """The subject. Raises TokenRejected where there is none."""
    subject = text_claim(claims, "sub")
    if subject is None:
        raise TokenRejected("no subject")
    return subject
