"""A tenant as the platform bootstraps it, with real tokens for its people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import Actor, ActorKind, platform_actor
from app.auth.authenticate import Authenticator
from app.auth.consent import SignedInOperators
from app.auth.keys import derive_key
from app.auth.tokens import LocalTokens
from app.commands import Done, Refused
from app.idempotency import Key
from app.running import run
from app.sealing import Seal
from db.base import Model
from db.enums import ChangeRecordType
from db.ids import new_id
from db.models import AuditLog, ChangeRecord, Operator, Role
from db.session import Database

SECRET = "a secret of these tests, long enough"


def platform() -> Actor:
    """Whoever runs the platform."""
    return platform_actor(datetime.now(UTC) + timedelta(hours=1))


@dataclass
class Stage:
    """The bootstrapped tenant."""

    database: Database
    tenant_id: UUID
    slug: str
    people: list[UUID]
    project_id: UUID
    environment_ids: list[UUID]
    tokens: LocalTokens = field(default_factory=lambda: LocalTokens(derive_key(SECRET), operators=True))

    @property
    def reader(self) -> Actor:
        """Somebody of the tenant, for looking at rows."""
        return Actor(
            kind=ActorKind.OPERATOR,
            tenant_id=self.tenant_id,
            tenant_slug=self.slug,
            id=new_id(),
            name="reader",
            permissions=platform().permissions,
            token_expires_at=datetime.now(UTC) + timedelta(hours=1),
        )

    async def token(self, operator_id: UUID) -> str:
        """A real token of an operator."""
        operator = await self.one(Operator, operator_id)
        return self.tokens.issue(ActorKind.OPERATOR, operator.auth_id, tenant=self.slug)

    async def actor(self, operator_id: UUID) -> Actor:
        """The actor that the gateway makes of that token: with the grants of this moment, and as a sign-in that is
        consent (GDPR-4)."""
        consents = SignedInOperators(self.database)
        authenticator = Authenticator(self.database, local=self.tokens, consents=consents)
        return await authenticator.authenticate(f"Bearer {await self.token(operator_id)}", None)

    async def do(self, name: str, /, by: Actor | UUID | None = None, key: Key | None = None, **given: Any) -> Any:
        """Run a command as somebody, the first Admin if nobody is named; Done or Refused."""
        who = by if isinstance(by, Actor) else await self.actor(by or self.people[0])
        return await run(self.database, who, name, given, key, Seal(SECRET))

    async def done(self, name: str, /, by: Actor | UUID | None = None, **given: Any) -> Any:
        """Run a command that must succeed; its row, or its extras where there is none."""
        outcome = await self.do(name, by, **given)
        assert isinstance(outcome, Done), outcome
        return outcome.extras if outcome.row is None else outcome.row

    async def refused(self, name: str, /, by: Actor | UUID | None = None, **given: Any) -> Refused:
        """Run a command that must be refused."""
        outcome = await self.do(name, by, **given)
        assert isinstance(outcome, Refused), outcome
        return outcome

    async def rows(self, model: type[Any], *where: Any) -> Sequence[Any]:
        """Rows of the tenant, in the order of their ids."""
        async with self.database.transaction(self.reader) as session:
            statement = select(model).where(model.tenant_id == self.tenant_id, *where).order_by(model.id)
            return list(await session.scalars(statement))

    async def one(self, model: type[Any], row_id: UUID) -> Any:
        """One row."""
        (found,) = await self.rows(model, model.id == row_id)
        return found

    async def add(self, *rows: Model) -> None:
        """Insert rows as they are."""
        async with self.database.transaction(self.reader) as session:
            for row in rows:
                row.tenant_id = self.tenant_id  # type: ignore[attr-defined]
                session.add(row)
                await session.flush()

    async def audits(self, *actions: str) -> list[AuditLog]:
        """The audit rows of these actions."""
        return list(await self.rows(AuditLog, AuditLog.action.in_(actions)))

    async def changes(self, kind: ChangeRecordType) -> list[ChangeRecord]:
        """The change records of a type."""
        return list(await self.rows(ChangeRecord, ChangeRecord.type == kind))

    async def role(self, name: str) -> UUID:
        """A role by its name."""
        (found,) = await self.rows(Role, Role.name == name)
        row_id: UUID = found.id
        return row_id

    async def newcomer(self, name: str = "Nia", *roles: str, **scope: Any) -> UUID:
        """An operator who was invited and given roles."""
        operator = await self.done("invite_operator", name=name, email=f"{name.lower()}-{new_id().hex}@people.example")
        for one in roles:
            await self.done("assign_role", role_id=await self.role(one), operator_id=operator.id, **scope)
        row_id: UUID = operator.id
        return row_id


async def bootstrap(database: Database, count: int = 3, **given: Any) -> Stage:
    """A new tenant with this many Admins."""
    slug = given.pop("slug", f"t-{new_id().hex[-12:]}")
    people = [{"name": f"Admin {n}", "email": f"admin{n}@{slug}.example"} for n in range(count)]
    arguments = {"name": "Acme", "slug": slug, "operators": people, **given}
    outcome = await run(database, platform(), "bootstrap_tenant", arguments)
    assert isinstance(outcome, Done), outcome
    found = outcome.extras
    return Stage(
        database,
        UUID(found["tenant_id"]),
        slug,
        [UUID(one) for one in found["operator_ids"]],
        UUID(found["project_id"]),
        [UUID(one) for one in found["environment_ids"]],
    )
