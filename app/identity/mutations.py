"""Mutations of tenancy and identity."""

from __future__ import annotations

from app.graph.inputs import given, input_type
from app.graph.mutation import mutation
from app.graph.scalars import JSON
from app.identity import commands
from app.identity.types import Environment, Project


@input_type
class ProjectCreateInput:
    """A new project."""

    name: str = given("Display name.", longest=100)
    slug: str = given("Short name, unique in the tenant: lower-case letters, digits and hyphens.", longest=100)
    description: str | None = given("What the project is about.", longest=500)
    default_environment_id: str | None = given("Where its instances run if nothing else is said.", id_of="Environment")
    metadata: JSON | None = given("Open notes.")


@input_type
class EnvironmentCreateInput:
    """A new release target."""

    name: str = given("Display name.", longest=100)
    slug: str = given("Short name, unique in the tenant, such as `staging`.", longest=100)
    is_production: bool = given("Whether releases here need dual control (DEP-1).")
    config: JSON | None = given("Open configuration; `requireActiveDeployment` binds instances to a deployment.")


FIELDS = (
    mutation("project_create", commands.create_project, ProjectCreateInput, Project),
    mutation("environment_create", commands.create_environment, EnvironmentCreateInput, Environment),
)
