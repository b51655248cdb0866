"""Root fields of tenancy and identity."""

from app.graph.roots import row, rows
from app.identity.types import Environment, Operator, OrgMember, Project, Provider, Tenant

FIELDS = (
    rows(Tenant, "The caller's tenant, as a list of one."),
    row(Tenant, "The caller's tenant, if the id is its own."),
    rows(Project, "Workspaces of the tenant."),
    row(Project, "One workspace."),
    rows(Environment, "Release targets of the tenant."),
    row(Environment, "One release target."),
    rows(Operator, "People who may sign in."),
    row(Operator, "One person who may sign in."),
    rows(OrgMember, "The contact directory."),
    row(OrgMember, "One person of the contact directory."),
    rows(Provider, "Model and runtime vendors."),
    row(Provider, "One vendor."),
)
