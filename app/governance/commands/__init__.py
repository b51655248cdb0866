"""Commands of governance."""

from app.governance.commands import approvals, deadlines, deployments, policy

__all__ = ["approvals", "deadlines", "deployments", "policy"]
