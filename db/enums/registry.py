"""Enums of the agent registry."""

from db.enums.described import Described


class LifecycleState(Described):
    """Where an agent version stands between draft and retirement (VER-1)."""

    DRAFT = "DRAFT", "Made, not yet evaluated; the genome is immutable already (VER-5)."
    TESTING = "TESTING", "Its evaluation suites are running."
    CANDIDATE = "CANDIDATE", "Passed evaluation; waits for approval."
    APPROVED = "APPROVED", "May be deployed."
    DEPRECATED = "DEPRECATED", "Running instances may go on; no new deployment may target it."
    RETIRED = "RETIRED", "Final: nothing runs it."


class InstanceState(Described):
    """What a running agent is allowed to do (INS-1, INS-4)."""

    PROVISIONING = "PROVISIONING", "Created, not yet released to work."
    ACTIVE = "ACTIVE", "Starts runs and calls tools as its policy allows."
    PAUSED = "PAUSED", "Starts no runs, and every tool call is denied."
    READONLY = "READONLY", "Only tools of GREEN risk remain."
    DRAINING = "DRAINING", "Finishes the runs it has and starts none; then it retires."
    QUARANTINED = (
        "QUARANTINED",
        "Contained: nothing but its heartbeat is answered, and only an approval brings it back.",
    )
    RETIRED = "RETIRED", "Final: its token is dead."


class PauseCause(Described):
    """What paused an instance; nothing that was paused for another cause is resumed (EMG-6)."""

    OPERATOR = "OPERATOR", "A person."
    EMERGENCY = "EMERGENCY", "The emergency mode of its scope (EMG-4)."
    BUDGET = "BUDGET", "Its budget is used up (BUD-4); the daily reset resumes it (BUD-2)."
    STALE = "STALE", "It stopped sending heartbeats (HB-4)."
    LOOP = "LOOP", "It went in circles (LOOP-2)."
    ERRORS = "ERRORS", "It reported errors in a row (HB-3)."


class IdentityComplianceStatus(Described):
    """Verdict on a template's identity documents (IDN-1)."""

    VALID = "VALID", "Everything required is there."
    INVALID = "INVALID", "Errors, and neither a name nor a soul."
    MISSING = "MISSING", "The template has no identity; a scan found it so."
    PARTIAL = "PARTIAL", "Errors, but a name or a soul is there."


class EvalStatus(Described):
    """Outcome of a version's evaluation; TESTING to CANDIDATE needs PASS, and no approval overrides it (VER-1)."""

    NOT_RUN = "NOT_RUN"
    RUNNING = "RUNNING"
    PASS = "PASS", "The latest run of every applicable suite passed."
    FAIL = "FAIL"
