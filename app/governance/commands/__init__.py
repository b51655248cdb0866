"""Commands of governance."""

from app.governance.commands import approvals, deadlines, deployments, envelopes, policy, roles

__all__ = ["approvals", "deadlines", "deployments", "envelopes", "policy", "roles"]
