"""The mutation that makes a tenant. The platform's token reads no tenant's rows, so its payload has ids alone."""

from __future__ import annotations

import strawberry

from app.graph.fields import list_of
from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation, shown_id
from app.graph.scalars import JSON
from app.identity.commands.bootstrap import bootstrap_tenant
from db.enums import TenantPlan


@input_type
class FirstOperatorInput:
    """One of the people whom a tenant begins with; each is an Admin."""

    name: str = given("Name as shown to others.", longest=100)
    email: str = given("E-mail address that the identity provider vouches for at the first sign-in.", longest=254)
    auth_id: str | None = given(
        "Subject at the identity provider, where it is known; otherwise they are invited by the address.", longest=255
    )


@input_type
class TenantBootstrapInput:
    """A new tenant."""

    name: str = given("Display name of the organisation.", longest=100)
    slug: str = given("Short name for tokens: lower-case letters, digits and hyphens; unique.", longest=100)
    operators: list[FirstOperatorInput] = given(
        "Its first Admins. Three at least are advised: RED needs two votes besides whoever asks (APR-2, APR-5).",
        most=100,
    )
    plan: TenantPlan | None = given("Commercial plan.")
    settings: JSON | None = given("Open settings, such as `missionStatement`, `safetyFloor`, `approvalSlaMinutes`.")
    project_name: str = given("Display name of its first project.", longest=100, default="Default")
    project_slug: str = given("Short name of its first project.", longest=100, default="default")
    max_environments: int | None = given("Most environments that may exist; three at least.")
    max_operators: int | None = given("Most operators that may exist.")
    billing_email: str | None = given("Where invoices go.", longest=254)
    gdpr_data_region: str | None = given("Region that personal data is kept in (GDPR-4).", longest=100)
    timezone: str = given("IANA time zone of the daily budget reset.", longest=100, default="UTC")


def _shown_ids(name: str, entity: str, description: str) -> Shown:
    one = shown_id(name, entity, description)
    return Shown(name, list_of(strawberry.ID), description, make=one.make)


FIELDS = (
    mutation(
        "tenant_bootstrap",
        bootstrap_tenant,
        TenantBootstrapInput,
        None,
        shows=[
            shown_id("tenant_id", "Tenant", "Id of the tenant."),
            Shown("slug", str, "Slug of the tenant, for tokens and the header `Fleetgraph-Tenant`."),
            shown_id("project_id", "Project", "Id of its first project."),
            _shown_ids("environment_ids", "Environment", "Ids of dev, staging and prod, in this order."),
            _shown_ids("operator_ids", "Operator", "Ids of its first Admins, in the order of the input."),
            Shown("advice", list_of(str), "What should be done next; empty where nothing is missing."),
        ],
    ),
)
