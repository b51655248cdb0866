"""The first sign-in of a person who was invited or imported (decision 27).

Until then the operator's row has ``invite:<uuid>`` in the place of a subject. The first token whose issuer vouches for
the same e-mail address takes that place; the audit log says so. It is the person's consent as well, where an import
brought none (GDPR-4). Several tenants may have invited the same address; then the request must name one. An invitation
is good once: nobody can bind a row that already has its subject.
"""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import func, insert, update

from app.auth.actor import Actor, ActorKind
from app.auth.authenticate import answer_of
from app.auth.claims import Token
from app.auth.scope import NO_GRANTS
from app.identity.rules import pseudonym
from app.origin import origin
from db.enums import ActorType, AuditSeverity, OperatorStatus
from db.models import AuditLog, Operator
from db.session import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.auth")

INVITED: Final = "invite:"
"""How the subject of an operator begins who has never signed in."""

_FIND: Final = "SELECT gateway.resolve_invitation($1, $2) AS found"


class InvitedOperators:
    """Binds subjects to invitations, in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, token: Token, tenant_slug: str | None) -> bool:
        """Bind the token's subject to the one open invitation for its verified address, in this tenant or in any.

        Whether this call bound it: there may be none, or more than one, or another request was faster. The operator's
        row and the audit row come in one transaction.
        """
        if token.email is None or token.subject.startswith(INVITED):
            return False
        found = answer_of(await self._database.fetch_one(_FIND, token.email, tenant_slug))
        if found is None:
            return False
        operator_id, tenant_id = UUID(found["id"]), UUID(found["tenant_id"])
        person = Actor(
            kind=ActorKind.OPERATOR,
            tenant_id=tenant_id,
            tenant_slug=found["tenant_slug"],
            id=operator_id,
            name=pseudonym(token.email),
            permissions=NO_GRANTS,
            token_expires_at=token.expires_at,
        )
        now = datetime.now(UTC)
        async with self._database.transaction(person) as session:
            bound = await session.execute(
                update(Operator)
                .where(
                    Operator.tenant_id == tenant_id,
                    Operator.id == operator_id,
                    Operator.auth_id.startswith(INVITED),
                    Operator.status == OperatorStatus.ACTIVE,
                )
                .values(
                    auth_id=token.subject,
                    gdpr_consent_at=func.coalesce(Operator.gdpr_consent_at, now),
                    last_login_at=now,
                    updated_at=now,
                )
                .returning(Operator.id)
            )
            if bound.first() is None:
                return False
            await session.execute(
                insert(AuditLog).values(
                    tenant_id=tenant_id,
                    severity=AuditSeverity.INFO,
                    action="OPERATOR_UPDATED",
                    actor_type=ActorType.HUMAN,
                    actor_id=operator_id,
                    resource="operators",
                    resource_id=str(operator_id),
                    description=f"First sign-in: the invitation of {person.name} was bound to its subject.",
                    timestamp=now,
                    **origin()._asdict(),
                )
            )
        log.info("invitation_bound", operator=str(operator_id), tenant=found["tenant_slug"])
        return True
