"""Root fields of agent intelligence."""

from app.graph.roots import row, rows
from app.intelligence import insights
from app.intelligence.types import AgentDocument, AgentPattern, AgentPerformance

FIELDS = (
    rows(AgentPerformance, "Measured success, cost and time of agents by version and kind of work."),
    row(AgentPerformance, "One agent's figures for one version and kind of work."),
    rows(AgentPattern, "What was learnt about agents: strengths and weaknesses, with their evidence."),
    row(AgentPattern, "One learnt strength or weakness."),
    rows(AgentDocument, "Working memory of agents, such as today's notes of a project's agents."),
    row(AgentDocument, "One document of an agent's working memory."),
    *insights.FIELDS,
)
