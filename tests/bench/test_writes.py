"""The write benchmark: who sends what to which tenant, and that journals must fit the answers."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

from app.auth.actor import ActorKind
from app.auth.tokens import LocalTokens
from bench import report
from bench.contenders import ContenderFailed, Gateway, Server
from bench.rounds import Measurement
from bench.write_fleet import AGENTS, TENANTS, Tenant
from bench.writes import WRITES, _check_journals, _job, markdown
from db.ids import new_id


class _Tokens:
    """Says whose token it would be."""

    def issue(self, kind: ActorKind, subject: str, *, tenant: str, epoch: int | None = None) -> str:
        return f"{tenant}/{kind.value}/{subject}"


_TOKENS = cast(LocalTokens, _Tokens())
_SERVER = Server(Gateway(), 1, 1)


def _tenants() -> list[Tenant]:
    return [Tenant(f"t{n}", f"o{n}", [new_id() for _ in range(AGENTS)], new_id()) for n in range(TENANTS)]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
@pytest.mark.parametrize("spread", [1, TENANTS])
def test_each_connection_has_an_agent_to_itself(write: object, spread: int) -> None:
    chosen = next(one for one in WRITES if one is write)
    tenants = _tenants()[:spread]
    bodies = [b"x"] * len(chosen.answers)
    job = _job(chosen, _SERVER, _TOKENS, tenants, 64, 1.0, bodies)
    assert len(job.requests) == len(job.bodies) == 64 * job.lane
    ids = {one.hex: (tenant.slug, one) for tenant in tenants for one in tenant.instances}
    seen = []
    for number in range(64):
        lane = job.requests[number * job.lane : (number + 1) * job.lane]
        text = b"\n".join(lane).decode()
        found = {agent for agent in ids if f"ins_{agent}" in text}
        assert len(found) == 1
        slug, _ = ids[found.pop()]
        assert f"Bearer {slug}/" in text
        assert slug == f"t{number % spread}"
        seen.append(text)
    assert len(set(seen)) == 64


def test_journals_must_have_grown_by_what_the_answers_stand_for() -> None:
    transition, evaluation = WRITES
    _check_journals(transition, (5, 5), (15, 15), 10)
    _check_journals(evaluation, (5, 5), (5, 15), 10)
    for before, after in (((0, 0), (9, 0)), ((0, 0), (0, 10)), ((0, 0), (10, 3))):
        with pytest.raises(ContenderFailed, match="left"):
            _check_journals(transition, before, after, 10)


def test_the_page_has_a_line_for_each_cell() -> None:
    one = Measurement(10, 0, None, 1.0, 1234.5, 1.5, 2.25, 0.5, 0.25, 1, 0.1)
    page = {
        "began": report.now(),
        "ended": report.now() + timedelta(minutes=2),
        "commit": "abc",
        "machine": "2 cores",
        "python": "3",
        "postgres": "18",
        "rounds": 1,
        "seconds": 1.0,
        "pool": 16,
        "load_before": 0.0,
    }
    text = markdown(page, {("M1", 1, 16): [one], ("P1", 8, 1): [one]})
    assert "| M1 | 1 | 16 | 1,234 | 1.5 | 2.25 | 0.75 | 0.25 |" in text
    assert "| P1 | 8 | 1 |" in text
