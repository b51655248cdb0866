"""Enums of tasks, their threads, runs, tool calls and reviews."""

from db.enums.described import Described


class TaskStatus(Described):
    """Where a task stands (TSK-1)."""

    INBOX = "INBOX", "Made, and nobody's yet; every task starts here (TSK-2)."
    ASSIGNED = "ASSIGNED", "Has at least one assignee and waits for its start."
    IN_PROGRESS = "IN_PROGRESS", "Being worked on by its plan."
    REVIEW = "REVIEW", "Submitted with a deliverable and a ticked checklist."
    NEEDS_APPROVAL = "NEEDS_APPROVAL", "Waits for a decision on an approval."
    BLOCKED = "BLOCKED", "Cannot go on; the blocked reason says why."
    FAILED = "FAILED", "Given up; a person may retry it."
    DONE = "DONE", "Accepted; final."
    CANCELED = "CANCELED", "Dropped by a person; final."


class TaskType(Described):
    """Kind of work, which policies allow or refuse and performance is measured by."""

    CONTENT = "CONTENT"
    SOCIAL = "SOCIAL", "Posts for social networks."
    EMAIL_MARKETING = "EMAIL_MARKETING"
    CUSTOMER_RESEARCH = "CUSTOMER_RESEARCH"
    SEO_RESEARCH = "SEO_RESEARCH", "Research for search engine ranking."
    ENGINEERING = "ENGINEERING"
    DOCS = "DOCS", "Documentation."
    OPS = "OPS", "Operations."


class TaskSource(Described):
    """Channel that a task came in by."""

    DASHBOARD = "DASHBOARD", "Typed by a person in an application."
    TELEGRAM = "TELEGRAM", "A Telegram chat; the text is sanitised, 30 tasks a chat and minute (TASK-1)."
    GITHUB = "GITHUB", "An issue of the project's repository (TASK-5)."
    AGENT = "AGENT", "Made by an agent, such as a phase of a decomposed task (DAG-3)."
    API = "API", "A client of the API; the text is sanitised (TASK-1)."
    TRELLO = "TRELLO", "A Trello card."
    SEED = "SEED", "Demo data."
    MISSION_PROMPT = "MISSION_PROMPT", "Suggested from the tenant's mission statement."
    PRD_IMPORT = "PRD_IMPORT", "Read out of a product requirements document."


class TaskCreator(Described):
    """Who made a task."""

    HUMAN = "HUMAN", "An operator."
    AGENT = "AGENT", "An agent instance."
    SYSTEM = "SYSTEM", "The gateway itself, such as an action item of a meeting (MTG-3)."


class RecurrenceFrequency(Described):
    """Unit of a task's recurrence (TASK-7)."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"


class MessageType(Described):
    """What a message in a task's thread is for (MSG-1)."""

    COMMENT = "COMMENT"
    WORK_PLAN = "WORK_PLAN", "The plan of the task as bullets, with cost and duration (MSG-3)."
    PROGRESS = "PROGRESS", "How far the work is, in per cent."
    ARTIFACT = "ARTIFACT", "Hands over files or texts."
    REVIEW = "REVIEW", "Feedback on a submitted task."
    APPROVAL_REQUEST = "APPROVAL_REQUEST", "Says that the work waits for a decision."
    SYSTEM = "SYSTEM", "A note of the gateway itself."


class RunStatus(Described):
    """How a run stands; all but RUNNING are final (RUN-1)."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED", "Ended with an error."
    TIMEOUT = "TIMEOUT", "Ended by the gateway after its longest time, 60 minutes if nothing else is set (RUN-6)."


class ToolCallStatus(Described):
    """How a tool call stands (TOL-1)."""

    PENDING = "PENDING", "Waits for an approval (TOL-2)."
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED", "Ended with an error; may be retried three times at most."
    DENIED = "DENIED", "Never executed: refused by policy or by the approver."


class ExecutionRequestType(Described):
    """Kind of work handed to an executor."""

    CODE_CHANGE = "CODE_CHANGE"
    RESEARCH = "RESEARCH"
    CONTENT = "CONTENT"
    EMAIL = "EMAIL"
    SOCIAL = "SOCIAL", "Posts for social networks."
    OPS = "OPS", "Operations."


class ExecutorKind(Described):
    """Outside executor that takes requests from the queue (EXE-1)."""

    CURSOR = "CURSOR", "The Cursor editor's agent; takes code changes unless the request says otherwise."
    CLAUDE_CODE = "CLAUDE_CODE", "The Claude Code command line."
    OPENCLAW_AGENT = "OPENCLAW_AGENT", "An OpenClaw agent; takes all other requests."


class ExecutionRequestStatus(Described):
    """How a request to an executor stands (EXR-1)."""

    PENDING = "PENDING", "In the queue, not yet routed."
    ASSIGNED = "ASSIGNED", "Routed to an executor that has not claimed it yet."
    IN_PROGRESS = "IN_PROGRESS", "Claimed by one executor."
    COMPLETED = "COMPLETED"
    FAILED = "FAILED", "Failed, or canceled while pending; the result says which."


class ReviewType(Described):
    """What a review says, and so what it does to the task (REV-3)."""

    PRAISE = "PRAISE", "Good work, with a score; the task stays as it is."
    REFUTE = "REFUTE", "The result does not hold; counts as a review cycle."
    CHANGESET = "CHANGESET", "Asks for the changes it lists; the task goes back to IN_PROGRESS."
    APPROVE = "APPROVE", "The task may be completed; an agent's needs a person's approval behind it."


class ReviewStatus(Described):
    """How a review was answered (REV-1)."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    SUPERSEDED = "SUPERSEDED", "Replaced by a newer review, or withdrawn with a reason."


class ReviewTargetType(Described):
    """What a review looks at."""

    TASK = "TASK"
    DELIVERABLE = "DELIVERABLE", "What the task handed in."
    ARTIFACT = "ARTIFACT", "One file or text of the deliverable."
    CODE_CHANGE = "CODE_CHANGE", "A pull request or commit."


class ReviewSeverity(Described):
    """Weight of what a REFUTE or CHANGESET review found (REV-2)."""

    MINOR = "MINOR"
    MAJOR = "MAJOR"
    CRITICAL = "CRITICAL"


class ChangesetFileAction(Described):
    """What a changeset wants done with a file."""

    ADD = "ADD"
    MODIFY = "MODIFY"
    DELETE = "DELETE"
