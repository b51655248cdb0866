"""The schema: the domains' types and fields in one, and its text."""

from functools import cache
from typing import cast

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import create_type
from strawberry.types.field import StrawberryField

from app.audit import mutations as audit_mutations
from app.audit import queries as audit
from app.audit.trail import audit_trail
from app.audit.verification import change_log_verify
from app.communication import mutations as communication_mutations
from app.communication import queries as communication
from app.evaluation import mutations as evaluation_mutations
from app.evaluation import queries as evaluation
from app.execution import effects as execution_effects
from app.execution import mutations as execution_mutations
from app.execution import queries as execution
from app.figures import fleet as fleet_figures
from app.figures import health, incidents, search, standup
from app.figures import work as work_figures
from app.figures import workflows as workflow_figures
from app.governance import mutations as governance_mutations
from app.governance import queries as governance
from app.graph.fields import bind
from app.graph.roots import node, nodes
from app.graph.scalars import SCALARS
from app.identity import mutations as identity_mutations
from app.identity import queries as identity
from app.intelligence import mutations as intelligence_mutations
from app.intelligence import queries as intelligence
from app.legacy import queries as legacy
from app.lineage import queries as lineage
from app.live import subscriptions as live
from app.notification import mutations as notification_mutations
from app.notification import queries as notification
from app.platform import emergency, flags, hierarchy
from app.platform import mutations as platform_mutations
from app.platform import queries as platform
from app.platform.viewer import viewer
from app.registry import mutations as registry_mutations
from app.registry import queries as registry
from app.workflow import effects as workflow_effects
from app.workflow import mutations as workflow_mutations
from app.workflow import queries as workflow

DOMAINS = (
    identity,
    registry,
    governance,
    audit,
    execution,
    intelligence,
    communication,
    workflow,
    evaluation,
    notification,
    platform,
)
"""In the order in which types and queries may refer to each other's modules."""

FIGURES = (
    *work_figures.FIELDS,
    *fleet_figures.FIELDS,
    *standup.FIELDS,
    *incidents.FIELDS,
    *health.FIELDS,
    *workflow_figures.FIELDS,
    *search.FIELDS,
)
"""Counts, costs and rates over the domains' tables."""

PLATFORM = (*emergency.FIELDS, *flags.FIELDS, *hierarchy.FIELDS)
"""What the platform answers besides its tables."""

EFFECTS = (execution_effects, workflow_effects)
"""Modules that say what the end of an approval does to the rows of their domains (APR-13)."""

MUTATIONS = (
    identity_mutations,
    registry_mutations,
    governance_mutations,
    audit_mutations,
    execution_mutations,
    communication_mutations,
    intelligence_mutations,
    workflow_mutations,
    evaluation_mutations,
    notification_mutations,
    platform_mutations,
)


@cache
def schema() -> strawberry.Schema:
    """The schema of the gateway, with the kit's resolvers in place."""
    fields = [one for domain in DOMAINS for one in domain.FIELDS]
    across = [
        cast("StrawberryField", one)
        for one in (
            viewer,
            change_log_verify,
            audit_trail,
            *PLATFORM,
            *FIGURES,
            *lineage.FIELDS,
            *legacy.FIELDS,
        )
    ]
    query = create_type(
        "Query",
        [node, nodes, *across, *fields],
        description="Everything that may be read: a list and a look-up for each table, and any row by its global id.",
    )
    mutation = create_type(
        "Mutation",
        [one for domain in MUTATIONS for one in domain.FIELDS],
        description="Everything that may be changed. Each field is one governed command: it checks, locks and records.",
    )
    subscription = create_type(
        "Subscription",
        list(live.FIELDS),
        description="What is told as it happens. A stream that the gateway ends says why, and where to go on from.",
    )
    made = strawberry.Schema(
        query=query,
        mutation=mutation,
        subscription=subscription,
        config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=True),
    )
    bind(made._schema)
    return made


def print_schema() -> str:
    """The schema as SDL: what `schema.graphql` holds."""
    return schema().as_str() + "\n"
