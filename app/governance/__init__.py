"""What agents may do, and who decides: policy envelopes, approvals, deployments, roles."""
