"""Agent intelligence: what is measured about agents, learnt from them, and remembered by them."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Mapped

from db.base import Changing, Model, Noted, TenantScoped, column, index, money, name_text, reference
from db.enums import AgentDocumentType


class AgentPerformance(TenantScoped, Changing, Model):
    """Running success, cost and time of an instance's tasks, per version and task type (LRN-1)."""

    __tablename__ = "agent_performance"
    __table_args__ = (
        index("instance_id", "version_id", "task_type", unique=True),  # the row that a finished task adds to (LRN-1)
        index("task_type"),  # the best instance for a kind of work (LRN-3)
    )

    instance_id: Mapped[UUID] = reference("agent_instances", "Agent that is measured.")
    version_id: Mapped[UUID] = reference("agent_versions", "Version that it ran, so that versions can be compared.")
    project_id: Mapped[UUID | None] = reference("projects", "The instance's project.")
    task_type: Mapped[name_text] = column("Kind of work, a task type's name.")
    success_count: Mapped[int] = column("Tasks that ended DONE.", default=0)
    failure_count: Mapped[int] = column("Tasks that ended FAILED.", default=0)
    avg_completion_time_ms: Mapped[float] = column(
        "Mean time from start to completion in milliseconds (LRN-1).", default=0.0
    )
    avg_cost_usd: Mapped[money] = column(
        "Mean cost of a task in US dollars; a shared task counts by its part (LRN-1).", default=Decimal(0)
    )
    total_tasks_completed: Mapped[int] = column("Tasks counted; canceled ones are not (LRN-1).", default=0)
    last_updated_at: Mapped[datetime] = column("When a finished task last moved the figures.")


class AgentPattern(TenantScoped, Changing, Noted, Model):
    """Learnt statement about an instance's strength or weakness, with confidence and evidence (LRN-2)."""

    __tablename__ = "agent_patterns"
    __table_args__ = (
        index("instance_id", "version_id", "pattern", unique=True),  # rediscovery strengthens the row (LRN-2)
        index("pattern"),  # all who share a strength; `strength:` and `weakness:` are prefixes
        index("confidence"),  # insights show what is surest (LRN-3)
    )

    instance_id: Mapped[UUID] = reference("agent_instances", "Agent that the statement is about.")
    project_id: Mapped[UUID | None] = reference("projects", "The instance's project.")
    pattern: Mapped[name_text] = column("`strength:<x>` or `weakness:<x>` (LRN-2).")
    confidence: Mapped[float] = column(
        "How sure, 0 to 1; each rediscovery counts 0.6 against 0.4 of before (LRN-2).", range=(0, 1)
    )
    evidence: Mapped[list[str]] = column("What it rests on, such as ids of tasks.", default=list)
    discovered_at: Mapped[datetime] = column("When it was first seen.")
    last_seen_at: Mapped[datetime] = column("When it was last seen again.")
    version_id: Mapped[UUID] = reference("agent_versions", "Version that showed the pattern.")


class AgentDocument(TenantScoped, Changing, Noted, Model):
    """Working memory of an instance: one document of each type (DOC-1)."""

    __tablename__ = "agent_documents"
    __table_args__ = (
        index("instance_id", "type", unique=True),  # setting a document replaces it (DOC-1)
        index("type"),  # the memory view has a page a type
        index("updated_at"),  # and shows what changed last
    )

    instance_id: Mapped[UUID] = reference("agent_instances", "Agent whose memory it is.")
    project_id: Mapped[UUID | None] = reference("projects", "The instance's project.")
    type: Mapped[AgentDocumentType] = column("Which of the memory files.")
    content: Mapped[str] = column("The text, Markdown by custom.")
