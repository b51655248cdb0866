"""Consent to the processing of personal data, given with the first sign-in (GDPR-4).

Whoever is let in and has none yet, is let in anew: for the first time, or after they withdrew it and an admin let them
in again. A person whose row has it costs nothing here.
"""

from datetime import UTC, datetime

import structlog
from sqlalchemy import update

from app.auth.actor import Actor
from db.enums import OperatorStatus
from db.models import Operator
from db.session import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.auth")


class SignedInOperators:
    """Notes the consent of people who sign in, in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def consent(self, person: Actor) -> None:
        """Note that a person who has just been let in agrees, as of now.

        Several requests may come at once, at several gateways: the first one counts. So does a withdrawal that came in
        between, since it suspends.
        """
        now = datetime.now(UTC)
        async with self._database.transaction(person) as session:
            noted = await session.execute(
                update(Operator)
                .where(
                    Operator.tenant_id == person.tenant_id,
                    Operator.id == person.id,
                    Operator.gdpr_consent_at.is_(None),
                    Operator.status == OperatorStatus.ACTIVE,
                )
                .values(gdpr_consent_at=now, last_login_at=now, updated_at=now)
                .returning(Operator.id)
            )
            first = noted.first() is not None
        if first:
            log.info("consent_noted", operator=str(person.id), tenant=person.tenant_slug)
