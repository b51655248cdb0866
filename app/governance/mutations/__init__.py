"""Mutations of governance."""

from app.governance.mutations import approvals, deployments, envelopes, policy, roles

FIELDS = (*policy.FIELDS, *envelopes.FIELDS, *approvals.FIELDS, *deployments.FIELDS, *roles.FIELDS)
