"""Root fields of the agent registry."""

from app.graph.roots import row, rows
from app.registry.types import AgentIdentity, AgentInstance, AgentTemplate, AgentVersion

FIELDS = (
    rows(AgentTemplate, "The directory of agents: one row a family."),
    row(AgentTemplate, "One family of agents."),
    rows(AgentVersion, "Builds of all templates, in whatever state of their lifecycle."),
    row(AgentVersion, "One build with its genome."),
    rows(AgentInstance, "The fleet: every agent that runs, waits or has retired."),
    row(AgentInstance, "One agent of the fleet."),
    rows(AgentIdentity, "Identity documents with the verdict on them, for the compliance report (IDN-3)."),
    row(AgentIdentity, "One identity."),
)
