"""Enums of what agents learn and remember."""

from db.enums.described import Described


class AgentDocumentType(Described):
    """Which of its memory files an agent keeps in a document; one of each at most (DOC-1)."""

    WORKING_MD = "WORKING_MD", "What the agent is busy with and does next."
    DAILY_NOTE = "DAILY_NOTE", "Journal of the day."
    SESSION_MEMORY = "SESSION_MEMORY", "What outlives a session; loop detection adds its findings here (LOOP-2)."
