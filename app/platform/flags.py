"""`featureFlagEvaluate`: which flags are on, for a person and in an environment (FLG-1, FLG-2)."""

from __future__ import annotations

from typing import Annotated, Final, cast

import strawberry
from sqlalchemy import Table, select

from app.auth.permissions import READ_PERMISSION
from app.auth.scope import TENANT_WIDE
from app.graph.context import OperationContext
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import computed
from app.graph.ids import parse_id_of
from app.platform.rules.flags import is_on
from db import models

MOST_KEYS: Final = 200
LONGEST_KEY: Final = 100
_PERMISSION: Final = READ_PERMISSION["FeatureFlag"]


@strawberry.type(description="Whether a feature flag is on (FLG-1).")
class FeatureFlagEvaluation:
    """One answer."""

    key: str = strawberry.field(description="The key that was asked for.")
    enabled: bool = strawberry.field(description="Whether it is on there; false for a key that the tenant lacks.")


@computed(
    "Which of these flags are on, in their order (FLG-1, FLG-2). Null where the tenant has no such operator or"
    f" environment. Without an operator only a flag for everybody is on. Needs `{_PERMISSION}` for the whole tenant."
    " One statement.",
    most=MOST_KEYS,
)
async def feature_flag_evaluate(
    info: strawberry.Info,
    keys: Annotated[list[str], strawberry.argument(description=f"Keys of flags, at most {MOST_KEYS}.")],
    operator_id: Annotated[
        strawberry.ID | None, strawberry.argument(description="For whom; the share of a rollout goes by this id.")
    ] = None,
    environment_id: Annotated[strawberry.ID | None, strawberry.argument(description="Where.")] = None,
) -> list[FeatureFlagEvaluation] | None:
    """FORBIDDEN without the permission, BAD_USER_INPUT for too many keys or an id that cannot be."""
    context = cast("OperationContext", info.context)
    if context.actor.read_scope("FeatureFlag") is not TENANT_WIDE:
        raise Forbidden(_PERMISSION)
    if len(keys) > MOST_KEYS:
        raise BadUserInput(f"`keys` has {len(keys)} entries, at most {MOST_KEYS} are taken.", "keys")
    for at, key in enumerate(keys):
        if len(key) > LONGEST_KEY or "\0" in key:
            raise BadUserInput(f"`keys[{at}]` is no key: it has 1 to {LONGEST_KEY} characters.", f"keys[{at}]")
    person = None if operator_id is None else parse_id_of("opr", "Operator", operator_id, "operatorId")
    place = None if environment_id is None else parse_id_of("env", "Environment", environment_id, "environmentId")
    flags, people, places = (
        cast("Table", one.__table__) for one in (models.FeatureFlag, models.Operator, models.Environment)
    )
    tenants = cast("Table", models.Tenant.__table__)
    tenant = context.reader.tenant
    statement = (
        select(
            select(people.c.id).where(tenant(people), people.c.id == person).scalar_subquery().label("operator_id"),
            select(places.c.slug).where(tenant(places), places.c.id == place).scalar_subquery().label("slug"),
            flags.c.key,
            flags.c.enabled,
            flags.c.conditions,
        )
        .select_from(tenants.outerjoin(flags, (flags.c.tenant_id == tenants.c.id) & flags.c.key.in_(keys)))
        .where(tenant(tenants))
    )
    rows = await context.reading.rows(statement)
    if not rows or (person is not None and rows[0].operator_id is None) or (place is not None and rows[0].slug is None):
        return None
    names = None if place is None else [str(place), rows[0].slug]
    on = {
        row.key: is_on(row.key, row.enabled, row.conditions, None if person is None else str(person), names)
        for row in rows
        if row.key is not None
    }
    return [FeatureFlagEvaluation(key=key, enabled=on.get(key, False)) for key in keys]


FIELDS: Final = (feature_flag_evaluate,)
