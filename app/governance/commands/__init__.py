"""Commands of governance."""

from app.governance.commands import approvals, deadlines, deployments, policy, roles

__all__ = ["approvals", "deadlines", "deployments", "policy", "roles"]
