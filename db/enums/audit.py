"""Enums of the three journals: change records, op events and audit logs."""

from db.enums.described import Described


class ActorType(Described):
    """Who acts."""

    AGENT = "AGENT", "An agent instance."
    HUMAN = "HUMAN", "An operator."
    SYSTEM = "SYSTEM", "The gateway itself: jobs, containment, imports."


class ChangeRecordType(Described):
    """What a change record records. These 30 are the only ones (AUD-2)."""

    TENANT_BOOTSTRAPPED = (
        "TENANT_BOOTSTRAPPED",
        "A tenant came into being with its environments, roles and first operator.",
    )
    PROJECT_CREATED = "PROJECT_CREATED"
    ENVIRONMENT_CREATED = "ENVIRONMENT_CREATED"
    OPERATOR_CREATED = "OPERATOR_CREATED"
    PROVIDER_CREATED = "PROVIDER_CREATED"
    TEMPLATE_CREATED = "TEMPLATE_CREATED"
    TEMPLATE_UPDATED = "TEMPLATE_UPDATED"
    VERSION_CREATED = "VERSION_CREATED", "A version was made, always as a draft (VER-2)."
    VERSION_TRANSITIONED = "VERSION_TRANSITIONED", "A version moved along its lifecycle (VER-3)."
    VERSION_INTEGRITY_VERIFIED = "VERSION_INTEGRITY_VERIFIED", "The genome still has the hash it was made with (GEN-8)."
    VERSION_INTEGRITY_FAILED = (
        "VERSION_INTEGRITY_FAILED",
        "The genome no longer has its hash; its instances are contained (GEN-8).",
    )
    INSTANCE_CREATED = "INSTANCE_CREATED"
    INSTANCE_TRANSITIONED = "INSTANCE_TRANSITIONED", "An instance changed its state, with the cause (INS-3)."
    IDENTITY_UPDATED = "IDENTITY_UPDATED", "Identity documents were saved, with their hashes before and after (IDN-2)."
    DEPLOYMENT_CREATED = "DEPLOYMENT_CREATED"
    DEPLOYMENT_ACTIVATED = "DEPLOYMENT_ACTIVATED", "A deployment came into force and retired the former one (DEP-2)."
    DEPLOYMENT_ROLLED_BACK = "DEPLOYMENT_ROLLED_BACK", "A deployment gave way to one of the previous version (DEP-3)."
    POLICY_ATTACHED = "POLICY_ATTACHED", "An envelope was made, changed or switched off (POL-14)."
    POLICY_EVALUATED = "POLICY_EVALUATED", "Policy denied an action (POL-10)."
    APPROVAL_REQUESTED = "APPROVAL_REQUESTED"
    APPROVAL_DECIDED = "APPROVAL_DECIDED", "A request was approved, denied, cancelled, or expired (APR-10)."
    TASK_CREATED = "TASK_CREATED"
    TASK_TRANSITIONED = "TASK_TRANSITIONED", "A task changed its status (TSK-1)."
    TASK_ASSIGNED = "TASK_ASSIGNED"
    WORKFLOW_STARTED = "WORKFLOW_STARTED"
    WORKFLOW_COMPLETED = "WORKFLOW_COMPLETED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED", "Spend reached a limit, and what spent it was contained (BUD-4, BUD-5)."
    LOOP_DETECTED = "LOOP_DETECTED", "A task went in circles and was blocked (LOOP-2)."
    EMERGENCY_PAUSE = "EMERGENCY_PAUSE", "A scope was paused; one record for the whole action (EMG-4)."
    EMERGENCY_QUARANTINE = "EMERGENCY_QUARANTINE", "A scope or an instance was quarantined (EMG-4, HB-3, HB-4)."


class OpEventType(Described):
    """What an op event reports. These 14 are the only ones (OPE-1)."""

    RUN_STARTED = "RUN_STARTED"
    RUN_STEP = "RUN_STEP"
    RUN_COMPLETED = "RUN_COMPLETED"
    RUN_FAILED = "RUN_FAILED", "A run failed, or ran out of time (RUN-6)."
    TOOL_CALL_STARTED = "TOOL_CALL_STARTED", "Policy let a tool call through (POL-10)."
    TOOL_CALL_COMPLETED = "TOOL_CALL_COMPLETED"
    TOOL_CALL_BLOCKED = "TOOL_CALL_BLOCKED", "Policy denied a tool call; the change record says why (POL-10)."
    WORKFLOW_STEP_STARTED = "WORKFLOW_STEP_STARTED"
    WORKFLOW_STEP_COMPLETED = "WORKFLOW_STEP_COMPLETED"
    WORKFLOW_STEP_FAILED = "WORKFLOW_STEP_FAILED"
    HEARTBEAT = "HEARTBEAT", "An instance is alive; at most one in 30 s is kept (HB-1)."
    COST_TICK = "COST_TICK", "Money was spent; spend counters move by these alone (COST-1)."
    MESSAGE_SENT = "MESSAGE_SENT"
    DECISION_MADE = "DECISION_MADE", "Policy, a person or a router decided; `payload.stage` says on what."


class AuditSeverity(Described):
    """Weight of an audit log row (AUD-1)."""

    INFO = "INFO"
    WARNING = "WARNING", "Something was refused, overridden or erased."
    ERROR = "ERROR", "A wall was tested: another tenant's row was asked for, or integrity failed."
