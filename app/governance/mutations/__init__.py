"""Mutations of governance."""

from app.governance.mutations import approvals, deployments, policy, roles

FIELDS = (*policy.FIELDS, *approvals.FIELDS, *deployments.FIELDS, *roles.FIELDS)
