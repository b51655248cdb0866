"""The platform: flags, experiments, alerts, emergency control, views, webhooks, the agents' organisation, captures."""
