"""Mutations of providers, of the directory of people, and of the agents' places in projects."""

from __future__ import annotations

from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation, shown_id
from app.graph.registry import Named
from app.graph.scalars import JSON
from app.identity.commands import organisation, providers
from app.identity.types import OrgMember, Provider
from app.platform.types import OrgAssignment
from db.enums import OrgPosition, OrgScope, ProviderType


@input_type
class ProviderCreateInput:
    """A new vendor."""

    name: str = given("Display name.", longest=100)
    type: ProviderType = given("Which vendor.")
    config: JSON | None = given(
        "Connection settings. Keys such as `apiKey` or `client_secret` are stored encrypted; nothing of it is shown."
    )
    health_endpoint: str | None = given("Address that the health probe asks.", longest=2_000)
    metadata: JSON | None = given("Open notes.")


@input_type
class ProviderUpdateInput:
    """What changes on a vendor; what is left out stays."""

    provider_id: str = given("The provider.", id_of="Provider")
    name: str | None = given("Display name.", longest=100)
    config: JSON | None = given("Connection settings to set, key by key; null takes a key away.")
    health_endpoint: str | None = given("Address that the health probe asks.", longest=2_000)
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class OrgMemberCreateInput:
    """A person for the directory."""

    name: str = given("Name as shown to others.", longest=100)
    role: str = given("Function in words, such as `Head of Research`.", longest=100)
    email: str | None = given("E-mail address, one person's among those who are active.", longest=254)
    title: str | None = given("Job title.", longest=100)
    avatar: str | None = given("Address of a picture, or an emoji.", longest=2_000)
    responsibilities: list[str] | None = given("What the person answers for.", longest=500, most=50)
    parent_member_id: str | None = given("Whom the person reports to.", id_of="OrgMember")
    project_id: str | None = given("Project that the person belongs to; absent means the tenant.", id_of="Project")
    metadata: JSON | None = given("Open notes.")


@input_type
class OrgMemberUpdateInput:
    """What changes on a person of the directory; what is left out stays."""

    member_id: str = given("The member.", id_of="OrgMember")
    name: str | None = given("Name as shown to others.", longest=100)
    role: str | None = given("Function in words.", longest=100)
    email: str | None = given("E-mail address, one person's among those who are active.", longest=254)
    title: str | None = given("Job title.", longest=100)
    avatar: str | None = given("Address of a picture, or an emoji.", longest=2_000)
    responsibilities: list[str] | None = given("What the person answers for, all of it.", longest=500, most=50)
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class OrgMemberMoveInput:
    """Who reports to whom."""

    member_id: str = given("The member, with everybody who reports to them.", id_of="OrgMember")
    parent_member_id: str | None = given("Whom they report to; null for nobody.", id_of="OrgMember")


@input_type
class OrgMemberRemoveInput:
    """Who leaves the directory."""

    member_id: str = given("The member.", id_of="OrgMember")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class OrgPositionAssignInput:
    """Which agent gets which place."""

    instance_id: str = given("The agent.", id_of="AgentInstance")
    project_id: str = given("The project.", id_of="Project")
    org_position: OrgPosition = given("The rank; a project has one CEO.")
    scope: OrgScope = given("How far it reaches.", default=OrgScope.PROJECT)
    scope_ref: str | None = given("Name of the squad or the repository, for these scopes alone.", longest=200)
    metadata: JSON | None = given("Open notes.")


@input_type
class OrgPositionRemoveInput:
    """Which place becomes free."""

    assignment_id: str = given("The place.", id_of="OrgAssignment")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


FIELDS = (
    mutation("provider_create", providers.create_provider, ProviderCreateInput, Provider),
    mutation("provider_update", providers.update_provider, ProviderUpdateInput, Provider),
    mutation("org_member_create", organisation.create_org_member, OrgMemberCreateInput, OrgMember),
    mutation("org_member_update", organisation.update_org_member, OrgMemberUpdateInput, OrgMember),
    mutation("org_member_move", organisation.move_org_member, OrgMemberMoveInput, OrgMember),
    mutation("org_member_remove", organisation.remove_org_member, OrgMemberRemoveInput, OrgMember),
    mutation("org_position_assign", organisation.assign_org_position, OrgPositionAssignInput, OrgAssignment),
    mutation(
        "org_position_remove",
        organisation.remove_org_position,
        OrgPositionRemoveInput,
        None,
        shows=[
            shown_id("assignment_id", "OrgAssignment", "Id of the place that is free now."),
            Shown("instance", Named("AgentInstance"), "Who had it.", of="AgentInstance"),
        ],
    ),
)
