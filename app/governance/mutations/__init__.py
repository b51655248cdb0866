"""Mutations of governance."""

from app.governance.mutations import approvals, deployments, policy

FIELDS = (*policy.FIELDS, *approvals.FIELDS, *deployments.FIELDS)
