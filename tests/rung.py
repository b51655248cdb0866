"""What the bell is told."""

from __future__ import annotations

from uuid import UUID

import pytest

from db.bell import Feed
from tests.conftest import TenantUnderTest


def rings_of(tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch) -> list[tuple[UUID, Feed, int | None]]:
    """(tenant, feed, number) of every ring from now on, in their order; nobody else hears them."""
    rings: list[tuple[UUID, Feed, int | None]] = []

    class Noting:
        def ring(self, tenant_id: UUID, feed: Feed, seq: int | None = None) -> None:
            rings.append((tenant_id, feed, seq))

    monkeypatch.setattr(tenant.database, "bell", Noting())
    return rings
