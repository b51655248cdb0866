"""Which change of policies raises a tier (POL-14), and that it agrees with the engine's own inheritance (POL-5)."""

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.governance.autonomy import Place, Standing, raised_to, tier_at
from app.governance.policy import Envelope, PolicyLevel, resolve

PROJECT, TEMPLATE, VERSION = UUID(int=1), UUID(int=2), UUID(int=3)
AT_VERSION = Place(PROJECT, TEMPLATE, VERSION)
PLACES = {
    PolicyLevel.TENANT: {},
    PolicyLevel.PROJECT: {"project_id": PROJECT},
    PolicyLevel.TEMPLATE: {"template_id": TEMPLATE},
    PolicyLevel.VERSION: {"version_id": VERSION},
}
tiers = st.none() | st.integers(0, 5)
rows = st.lists(st.tuples(st.sampled_from(list(PLACES)), tiers, st.integers(0, 2), st.booleans()), max_size=6)


@given(rows, st.none() | st.integers(0, 5), st.none() | st.integers(0, 5))
def test_pol_5_the_tier_is_that_of_the_engine(
    given: list[tuple[PolicyLevel, int | None, int, bool]], floor: int | None, own: int | None
) -> None:
    """Two ways to the same tier: the engine's over whole envelopes, and this one over the tiers alone."""
    board = {
        UUID(int=10 + at): Standing(UUID(int=10 + at), tier, priority, active, **PLACES[level])
        for at, (level, tier, priority, active) in enumerate(given)
    }
    own_id = None if own is None else UUID(int=10 + own)
    envelopes = []
    for at, (level, tier, priority, active) in enumerate(given):
        is_own = own_id == UUID(int=10 + at)
        place = PolicyLevel.VERSION if is_own else level
        if active:
            envelopes.append(Envelope(UUID(int=1), UUID(int=10 + at), 1, "", place, priority, {"autonomy_tier": tier}))
    if any(one.id == own_id for one in envelopes):
        envelopes = [one for one in envelopes if one.level is not PolicyLevel.VERSION or one.id == own_id]
    expected = resolve([Envelope(*_key(one), values=one.values) for one in envelopes], floor).tier
    assert tier_at(board, AT_VERSION, floor, own_id) == expected


def _key(one: Envelope) -> tuple[UUID, UUID, int, str, PolicyLevel, int]:
    # What was compiled is kept by version: each example's envelope is one of its own.
    stamp = f"{one.values} {one.priority}"
    return one.tenant_id, one.id, one.version, stamp, one.level, one.priority


def test_pol_14_what_raises_and_what_does_not() -> None:
    tenant = Standing(UUID(int=10), 1, 100, True)
    strict = Standing(UUID(int=11), 0, 100, True, template_id=TEMPLATE)
    board = {tenant.id: tenant}
    with_strict = board | {strict.id: strict}
    at_template = Place(None, TEMPLATE, None)
    assert raised_to(board, board | {tenant.id: replace(tenant, tier=2)}, Place(), None) == 2
    assert raised_to(board, board | {tenant.id: replace(tenant, tier=2)}, Place(), 1) is None, "the safety floor"
    assert raised_to(board, board | {tenant.id: replace(tenant, tier=0)}, Place(), None) is None
    assert raised_to(board, with_strict, at_template, None) is None
    assert raised_to(with_strict, board, at_template, None) == 1, "what held back is gone"
    assert raised_to(board, {}, Place(), None) is None, "without any, the default tier"
    assert raised_to({tenant.id: replace(tenant, tier=0)}, {}, Place(), None) == 1


def test_pol_14_a_template_is_looked_at_in_each_project() -> None:
    """Tier 2 for a template raises nothing over the tenant's 3, but over the 1 of a project it does."""
    tenant = Standing(UUID(int=10), 3, 100, True)
    project = Standing(UUID(int=11), 1, 100, True, project_id=PROJECT)
    new = Standing(UUID(int=12), 2, 100, True, template_id=TEMPLATE)
    at_template = Place(None, TEMPLATE, None)
    before = {tenant.id: tenant}
    assert raised_to(before, before | {new.id: new}, at_template, None) is None
    before |= {project.id: project}
    assert raised_to(before, before | {new.id: new}, at_template, None) == 2
