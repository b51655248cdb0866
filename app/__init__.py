"""Fleetgraph: one GraphQL gateway over a fleet of AI agents."""
