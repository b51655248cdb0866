"""The gateway's own tokens: issued to agents, to the platform, and in development to operators.

Claims: ``sub``, ``kind``, ``tenant`` (slug), and for instances ``epoch``; never a role (decision 25), since what a
caller may do is looked up at each request. With an OIDC issuer configured, operators sign in there and nowhere else:
this module then neither issues nor accepts an operator's token.
"""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import ECKey

from app.auth.actor import ActorKind
from app.auth.claims import Bearer, Expectation, Token, TokenRejected, peek, subject_of, text_claim
from app.auth.keys import ALGORITHM

ISSUER: Final = "urn:fleetgraph:gateway"
"""The ``iss`` of the gateway's own tokens."""
AUDIENCE: Final = "fleetgraph"
"""The ``aud`` of the gateway's own tokens."""
PLATFORM_SUBJECT: Final = "platform"

LIFETIME: Final = timedelta(hours=12)
"""How long a token is good unless its issuer says otherwise. An instance's ends sooner with its epoch or its state."""
PLATFORM_LIFETIME: Final = timedelta(minutes=15)
"""How long a platform token is good, at most and by default (decision 24: short-lived)."""


class LocalTokens:
    """Issues and verifies the gateway's own tokens.

    `operators` says whether operators may have one: only where no OIDC issuer is configured. `skew` is in seconds,
    `lifetime` is the usual one of a token, `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        key: ECKey,
        *,
        operators: bool,
        skew: int = 60,
        lifetime: timedelta = LIFETIME,
        clock: Callable[[], float] = time.time,
    ) -> None:
        key_id = key.kid
        if key_id is None:
            raise ValueError("The signing key has no key id: call ensure_kid() on it first.")
        self._key = key
        self._key_id: str = key_id
        self._operators = operators
        self._lifetime = lifetime
        self._clock = clock
        self._expectation = Expectation((ALGORITHM,), ISSUER, AUDIENCE, skew)

    def issue(
        self,
        kind: ActorKind,
        subject: str,
        *,
        tenant: str | None = None,
        epoch: int | None = None,
        lifetime: timedelta | None = None,
    ) -> str:
        """A signed token.

        `tenant` is the slug; an operator's may leave it out, the platform's must. `epoch` is an instance's
        `token_epoch`. Raises ValueError for a combination that `verify` would refuse.
        """
        if lifetime is None:
            lifetime = min(self._lifetime, PLATFORM_LIFETIME) if kind is ActorKind.PLATFORM else self._lifetime
        if kind is ActorKind.OPERATOR and not self._operators:
            raise ValueError("An OIDC issuer is configured: operators get their tokens there.")
        if kind is ActorKind.INSTANCE and (tenant is None or epoch is None):
            raise ValueError("An instance's token needs its tenant and its token epoch.")
        if kind is ActorKind.PLATFORM and tenant is not None:
            raise ValueError("The platform's token belongs to no tenant: leave the tenant out.")
        if kind is ActorKind.PLATFORM and lifetime > PLATFORM_LIFETIME:
            raise ValueError(f"The lifetime of a platform token is at most {PLATFORM_LIFETIME}.")
        if lifetime < timedelta(seconds=1):
            raise ValueError("The lifetime of a token is at least a second.")
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "kind": kind.value,
            "iat": now,
            "exp": now + int(lifetime.total_seconds()),
            "jti": uuid4().hex,
        }
        if tenant is not None:
            claims["tenant"] = tenant
        if epoch is not None:
            claims["epoch"] = epoch
        return jwt.encode({"alg": ALGORITHM, "kid": self._key_id}, claims, self._key, [ALGORITHM])

    def verify(self, token: str) -> Token:
        """The token's content, if this gateway issued it and it is still good. Raises TokenRejected."""
        if peek(token).key_id != self._key_id:
            raise TokenRejected("signed with another key of the gateway")
        bearer, claims = self._expectation.verify(token, self._key, self._clock(), _bearer_of)
        epoch = claims.get("epoch")
        if bearer.kind is ActorKind.OPERATOR and not self._operators:
            raise TokenRejected("operators sign in at the OIDC issuer", bearer=bearer)
        if bearer.kind is ActorKind.INSTANCE and (bearer.tenant is None or type(epoch) is not int):
            raise TokenRejected("an instance's token without tenant or epoch")
        return Token(
            kind=bearer.kind,
            subject=bearer.subject,
            tenant=bearer.tenant,
            expires_at=self._expectation.expiry(claims),
            epoch=epoch if bearer.kind is ActorKind.INSTANCE else None,
        )


def _bearer_of(claims: Mapping[str, Any]) -> Bearer:
    try:
        kind = ActorKind(str(claims.get("kind")))
    except ValueError as error:
        raise TokenRejected("unknown kind") from error
    return Bearer(kind, subject_of(claims), text_claim(claims, "tenant"))
