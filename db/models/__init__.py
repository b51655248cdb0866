"""The 55 tables, a file a domain."""

from db.models.identity import Environment, Operator, OrgMember, Project, Provider, Tenant

__all__ = ["Environment", "Operator", "OrgMember", "Project", "Provider", "Tenant"]
