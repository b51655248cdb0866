"""Enums of evaluation."""

from db.enums.described import Described


class EvaluationTrigger(Described):
    """What started an evaluation run."""

    MANUAL = "MANUAL", "An operator asked for it."
    STATE_TRANSITION = "STATE_TRANSITION", "The version entered TESTING, and every suite that applies runs once."
    SCHEDULED = "SCHEDULED", "A schedule; may judge recorded telemetry instead of new output (EVL-7)."
    CI = "CI", "A build pipeline; may judge recorded telemetry instead of new output (EVL-7)."


class EvaluationRunStatus(Described):
    """Progress and verdict of an evaluation run."""

    PENDING = "PENDING", "Waits for a runner to claim it."
    RUNNING = "RUNNING", "Claimed by exactly one runner."
    PASSED = "PASSED", "The pass rate reached the threshold; final."
    FAILED = "FAILED", "Every case was scored, and the pass rate stayed below the threshold; final."
    CANCELED = "CANCELED", "Stopped by a person; the version has the evaluation status it had before. Final."
    ERROR = "ERROR", "The runner broke down; counts as a failure of the version. Final."


class ScoringFunctionType(Described):
    """Language that a custom scoring function is written in."""

    JAVASCRIPT = "JAVASCRIPT", "Stored only, and run by nothing but an external sandbox (EVL-6)."
    REGEX = "REGEX", "A pattern that the output must match, for an engine of linear time."
    THRESHOLD = "THRESHOLD", "A comparison of one number of the output, as JSON: `path`, `op`, `value`, `min`, `max`."
