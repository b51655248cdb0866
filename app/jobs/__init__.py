"""Work that nobody asks for: what time does to approvals, agents and notifications (decision 44)."""
