"""From the Authorization header to the actor: the one way in, for HTTP requests and for sockets alike.

A token says who; the database says whether they exist, whether they may still come in, and what they may do, in one
statement (`resolve`, the seam for a cache). Outside, every refusal reads the same; the reason is in the log.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

import orjson
import structlog

from app.auth.actor import Actor, ActorKind, instance_actor, platform_actor
from app.auth.claims import LONGEST_NAME, AnotherTenant, Bearer, Token, TokenRejected, peek
from app.auth.scope import Assignment, Grants
from app.auth.tokens import ISSUER, LocalTokens
from app.graph.errors import Unauthenticated
from app.identity.rules import pseudonym
from db.enums import InstanceState, OperatorStatus

if TYPE_CHECKING:
    from app.auth.oidc import OidcIssuer

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.auth")

TENANT_HEADER: Final = "Fleetgraph-Tenant"
"""Header, or field of connection_init, by which a person with several tenants names one (decision 24)."""

_OPERATOR: Final = "SELECT gateway.resolve_operator($1, $2) AS found"
_INSTANCE: Final = "SELECT gateway.resolve_instance($1, $2) AS found"


class Rows(Protocol):
    """The database as the gateway's role, with no tenant set."""

    async def fetch_one(self, sql: str, *arguments: Any) -> Mapping[str, Any] | None:
        """The first row of a statement with the arguments $1, $2 …, or None."""
        ...


class Invitations(Protocol):
    """Binds a person who was invited to the subject of their first token (decision 27)."""

    async def accept(self, token: Token, tenant_slug: str | None) -> bool:
        """Whether this call found an invitation for the token's verified e-mail address and bound it."""
        ...


class Consents(Protocol):
    """Notes that a person agreed to the processing of their data by signing in (GDPR-4)."""

    async def consent(self, person: Actor) -> None:
        """Note it, where it was not noted yet."""
        ...


class Refusals(Protocol):
    """Hears of those whom the gateway does not let in."""

    def not_let_in(self, rejected: TokenRejected, bearer: Bearer, tenant: str | None) -> None:
        """`bearer` is whom a token names whose signature holds, `tenant` the slug in the request's header. Must
        neither wait nor fail: the answer is given after it."""
        ...


class Authenticator:
    """Turns a bearer token into an actor.

    `local` verifies the gateway's own tokens, `oidc` those of the issuer; either may be missing, and then its tokens
    are refused. `now` gives the time, in UTC, at which grants must not have expired. `consents` notes the
    consent of people who have none yet, `refusals` hears of who is not let in.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        local: LocalTokens | None,
        oidc: "OidcIssuer | None" = None,
        invitations: Invitations | None = None,
        consents: Consents | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        refusals: Refusals | None = None,
    ) -> None:
        self._rows = rows
        self._local = local
        self._oidc = oidc
        self._invitations = invitations
        self._consents = consents
        self._now = now
        self._refusals = refusals

    @property
    def local(self) -> LocalTokens | None:
        """The gateway's own tokens; None where it has no key."""
        return self._local

    async def authenticate(self, authorization: str | None, tenant: str | None) -> Actor:
        """The actor of a request.

        `authorization` is the header's text (``Bearer …``), `tenant` that of `TENANT_HEADER`. Raises Unauthenticated.
        """
        return await self.actor_of(await self.verify(authorization, tenant), tenant)

    async def verify(self, authorization: str | None, tenant: str | None) -> Token:
        """The token of a header's text, once its signature and claims hold, whatever `tenant` says. Raises
        Unauthenticated."""
        try:
            return await self._verify(_bearer(authorization))
        except TokenRejected as rejected:
            raise self._refused(rejected, rejected.bearer, tenant) from None

    async def actor_of(self, token: Token, tenant: str | None) -> Actor:
        """The actor that a verified token stands for; `tenant` is the text of `TENANT_HEADER`. Raises
        Unauthenticated."""
        try:
            return await self.resolve(token, _slug(tenant))
        except TokenRejected as rejected:
            raise self._refused(rejected, token, tenant) from None

    async def resolve(self, token: Token, tenant: str | None) -> Actor:
        """The actor that a verified token stands for, with `tenant` as the request's header has it.

        One statement; more where a subject is unknown and its address verified, since it may have been invited, and
        where a person signs in without having consented before.
        Raises TokenRejected for whoever does not exist or may not come in, and Unauthenticated where the tenant must be
        named first.
        """
        if token.kind is ActorKind.PLATFORM:
            return platform_actor(token.expires_at, token)
        if tenant is not None and token.tenant is not None and tenant != token.tenant:
            raise AnotherTenant("the header names another tenant than the token")
        if token.kind is ActorKind.INSTANCE:
            return await self._instance(token)
        return await self._operator(token, token.tenant or tenant)

    async def renew(self, actor: Actor) -> Actor:
        """The caller as the database has them now, by the token that they came with.

        Raises TokenRejected for whoever may not come in any more.
        """
        if actor.token is None:
            return actor
        return await self.resolve(actor.token, actor.tenant_slug or None)

    async def close(self) -> None:
        """Let go of the issuer's connections."""
        if self._oidc is not None:
            await self._oidc.close()

    async def _verify(self, text: str) -> Token:
        # The issuer is not believed here, it only chooses who is to judge; each judge checks it again.
        issuer = peek(text).issuer
        if self._local is not None and issuer == ISSUER:
            return self._local.verify(text)
        if self._oidc is not None and issuer == self._oidc.issuer:
            return await self._oidc.verify(text)
        raise TokenRejected("unknown issuer")

    async def _operator(self, token: Token, tenant: str | None) -> Actor:
        found = await self._find(_OPERATOR, token.subject, tenant)
        if found is None and token.email is not None and self._invitations is not None:
            await self._invitations.accept(token, tenant)
            # Whatever came of it: another request of the same person may have been faster.
            found = await self._find(_OPERATOR, token.subject, tenant)
        if found is None:
            raise TokenRejected(f"unknown subject {pseudonym(token.subject)}")
        if "several" in found:
            raise Unauthenticated(f"You belong to several tenants: name one in the header {TENANT_HEADER}.")
        if found["status"] != OperatorStatus.ACTIVE:
            raise TokenRejected(f"operator {found['id']} is {found['status']}", known=_known(found))
        grants = [_assignment(grant) for grant in found["grants"]]
        ends = [grant.expires_at for grant in grants]
        person = Actor(
            kind=ActorKind.OPERATOR,
            tenant_id=UUID(found["tenant_id"]),
            tenant_slug=found["tenant_slug"],
            id=UUID(found["id"]),
            name=found["name"],
            permissions=Grants.union(grants, self._now()),
            token_expires_at=token.expires_at,
            grants_change_at=min((end for end in ends if end is not None and end > self._now()), default=None),
            token=token,
        )
        if not found["consented"] and self._consents is not None:
            await self._consents.consent(person)
        return person

    async def _instance(self, token: Token) -> Actor:
        try:
            instance_id = UUID(token.subject)
        except ValueError:
            raise TokenRejected("the subject of an instance's token is no id") from None
        found = await self._find(_INSTANCE, token.tenant, instance_id)
        if found is None:
            raise TokenRejected(f"unknown instance {instance_id}")
        if found["state"] == InstanceState.RETIRED:
            raise TokenRejected(f"instance {instance_id} is RETIRED", known=_known(found))
        if found["token_epoch"] != token.epoch:
            reason = f"token of instance {instance_id} was revoked: epoch {token.epoch}"
            raise TokenRejected(reason, known=_known(found))
        return instance_actor(
            tenant_id=UUID(found["tenant_id"]),
            tenant_slug=found["tenant_slug"],
            instance_id=instance_id,
            name=found["name"] or f"ins_{instance_id.hex}",
            state=found["state"],
            project_id=UUID(found["project_id"]),
            token_expires_at=token.expires_at,
            token=token,
        )

    async def _find(self, sql: str, *arguments: Any) -> dict[str, Any] | None:
        return answer_of(await self._rows.fetch_one(sql, *arguments))

    def _refused(self, rejected: TokenRejected, bearer: Bearer | None, tenant: str | None) -> Unauthenticated:
        log.info("token_rejected", reason=rejected.reason)
        if self._refusals is not None and bearer is not None:
            try:
                named = _slug(tenant)
            except TokenRejected:
                named = None
            self._refusals.not_let_in(rejected, bearer, named)
        return Unauthenticated()


def answer_of(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The JSON object that one of the functions of db/functions/auth.py answered with, or None."""
    found = None if row is None else row["found"]
    # The driver gives jsonb as text unless somebody gave the connection a codec.
    value: dict[str, Any] | None = orjson.loads(found) if isinstance(found, str) else found
    return value


def _assignment(grant: Mapping[str, Any]) -> Assignment:
    project, environment, expires = grant["project_id"], grant["environment_id"], grant["expires_at"]
    return Assignment(
        permissions=frozenset(grant["permissions"]),
        project_id=None if project is None else UUID(project),
        environment_id=None if environment is None else UUID(environment),
        expires_at=None if expires is None else datetime.fromisoformat(expires),
    )


def _known(found: Mapping[str, Any]) -> tuple[UUID, UUID]:
    return UUID(found["tenant_id"]), UUID(found["id"])


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenRejected("no bearer token" if authorization else "no Authorization header")
    return token.strip()


def _slug(tenant: str | None) -> str | None:
    """The header's slug; none if it is empty. What cannot be a slug is refused before the database sees it."""
    if tenant is None or not tenant.strip():
        return None
    slug = tenant.strip()
    if len(slug) > LONGEST_NAME or not slug.isascii() or not slug.isprintable():
        raise TokenRejected("the header's tenant is no slug")
    return slug
