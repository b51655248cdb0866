"""Checks with long lists, and those of hashes, refer to domains: they were read anew for every statement.

The rows that are there meet the new checks as they met the old ones, and are read through once more: the tables are
locked for some five seconds for each million change records.
"""

from collections.abc import Callable

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ENTITIES = """
'Tenant', 'Project', 'Environment', 'Operator', 'OrgMember', 'Provider', 'AgentTemplate', 'AgentVersion',
'AgentInstance', 'AgentIdentity', 'PolicyEnvelope', 'ApprovalRecord', 'Deployment', 'Role', 'RoleAssignment',
'Permission', 'ChangeRecord', 'OpEvent', 'AuditLog', 'Task', 'Message', 'Run', 'ToolCall', 'ExecutionRequest',
'TaskDependency', 'Review', 'AgentPerformance', 'AgentPattern', 'AgentDocument', 'TelegraphThread',
'TelegraphMessage', 'Meeting', 'VoiceArtifact', 'Workflow', 'WorkflowRun', 'EvaluationSuite', 'EvaluationRun',
'EvaluationMetric', 'CustomScoringFunction', 'NotificationEvent', 'Notification', 'NotificationPreference',
'FeatureFlag', 'Experiment', 'ExperimentAssignment', 'ExperimentEvent', 'Alert', 'OperatorControl',
'SavedView', 'WatchSubscription', 'Webhook', 'WebhookDelivery', 'ThreadSubscription', 'OrgAssignment',
'Capture'
"""
_CHANGES = """
'TENANT_BOOTSTRAPPED', 'PROJECT_CREATED', 'ENVIRONMENT_CREATED', 'OPERATOR_CREATED', 'PROVIDER_CREATED',
'TEMPLATE_CREATED', 'TEMPLATE_UPDATED', 'VERSION_CREATED', 'VERSION_TRANSITIONED',
'VERSION_INTEGRITY_VERIFIED', 'VERSION_INTEGRITY_FAILED', 'INSTANCE_CREATED', 'INSTANCE_TRANSITIONED',
'IDENTITY_UPDATED', 'DEPLOYMENT_CREATED', 'DEPLOYMENT_ACTIVATED', 'DEPLOYMENT_ROLLED_BACK', 'POLICY_ATTACHED',
'POLICY_EVALUATED', 'APPROVAL_REQUESTED', 'APPROVAL_DECIDED', 'TASK_CREATED', 'TASK_TRANSITIONED',
'TASK_ASSIGNED', 'WORKFLOW_STARTED', 'WORKFLOW_COMPLETED', 'BUDGET_EXCEEDED', 'LOOP_DETECTED',
'EMERGENCY_PAUSE', 'EMERGENCY_QUARANTINE'
"""
_DOMAINS = {
    "entity_name": f"VALUE IN ({_ENTITIES})",
    "change_record_type": f"VALUE IN ({_CHANGES})",
    "sha256": "octet_length(VALUE) = 64 AND VALUE !~ '[^0-9a-f]'",
}
_CHECKS = {
    "gateway.legacy_ids": {"entity": "entity_name"},
    "gateway.tenant_counters": {"hashes": "sha256"},
    "agent_versions": {"genome_hash": "sha256"},
    "approval_records": {"target_entity": "entity_name"},
    "change_records": {"hashes": "sha256", "target_entity": "entity_name", "type": "change_record_type"},
    "experiment_assignments": {"entity_type": "entity_name"},
    "experiment_events": {"entity_type": "entity_name"},
    "notification_events": {"source_entity": "entity_name"},
}
"""Domain of each check, by its table and its name, which is that of the column but for "hashes"."""
_HASHES = {
    "gateway.tenant_counters": ["change_hash", "change_prev_hash"],
    "change_records": ["content_hash", "prev_hash", "hash"],
}
_NULLABLE = "approval_records"
"""The table whose column may be absent."""


def upgrade() -> None:
    """Make the domains, and have the checks refer to them."""
    for domain, check in _DOMAINS.items():
        op.execute(f"CREATE DOMAIN gateway.{domain} AS text CONSTRAINT {domain} CHECK ({check})")
    for table in _CHECKS:
        form = "{0} = {0}::gateway.{1}" if table == _NULLABLE else "{0}::gateway.{1} IS NOT NULL"
        _replace(table, form.format)


def downgrade() -> None:
    """Have the checks say it themselves."""
    spelled = {**_DOMAINS, "sha256": "VALUE ~ '^[0-9a-f]{64}$'"}
    for table in _CHECKS:
        _replace(table, lambda column, domain: spelled[domain].replace("VALUE", column))
    for domain in _DOMAINS:
        op.execute(f"DROP DOMAIN gateway.{domain}")


def _replace(table: str, condition: Callable[[str, str], str]) -> None:
    """Put checks in the place of a table's old ones; `condition` says it of a column and a domain."""
    changes = []
    for name, domain in _CHECKS[table].items():
        check = f"ck_{table.rpartition('.')[2]}_{name}"
        columns = _HASHES[table] if name == "hashes" else [name]
        said = " AND ".join(condition(column, domain) for column in columns)
        changes += [f"DROP CONSTRAINT {check}", f"ADD CONSTRAINT {check} CHECK ({said})"]
    op.execute(f"ALTER TABLE {table} {', '.join(changes)}")
