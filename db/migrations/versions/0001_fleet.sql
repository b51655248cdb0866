-- The first version of the schema, frozen. Later versions change it; this file never changes.

CREATE SCHEMA IF NOT EXISTS gateway;

CREATE TABLE gateway.tenant_counters (
    tenant_id UUID NOT NULL,
    change_seq BIGINT DEFAULT 0 NOT NULL,
    change_hash TEXT DEFAULT '0000000000000000000000000000000000000000000000000000000000000000' NOT NULL,
    change_prev_hash TEXT DEFAULT '0000000000000000000000000000000000000000000000000000000000000000' NOT NULL,
    event_seq BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_tenant_counters PRIMARY KEY (tenant_id),
    CONSTRAINT ck_tenant_counters_numbers CHECK (change_seq >= 0 AND event_seq >= 0),
    CONSTRAINT ck_tenant_counters_hashes CHECK (change_hash ~ '^[0-9a-f]{64}$' AND change_prev_hash ~ '^[0-9a-f]{64}$')
);

CREATE TABLE gateway.idempotency_keys (
    tenant_id UUID NOT NULL,
    principal TEXT NOT NULL,
    operation TEXT NOT NULL,
    key TEXT NOT NULL,
    input_hash TEXT NOT NULL,
    result JSONB,
    expires_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant_id, principal, operation, key)
);
CREATE INDEX ix_idempotency_keys_expires_at ON gateway.idempotency_keys (expires_at);

CREATE TABLE gateway.legacy_ids (
    tenant_id UUID NOT NULL,
    legacy_table TEXT COLLATE "C" NOT NULL,
    legacy_id TEXT COLLATE "C" NOT NULL,
    entity TEXT NOT NULL,
    row_id UUID NOT NULL,
    content_hash TEXT NOT NULL,
    CONSTRAINT pk_legacy_ids PRIMARY KEY (tenant_id, legacy_table, legacy_id),
    CONSTRAINT ck_legacy_ids_entity CHECK (entity IN ('Tenant', 'Project', 'Environment', 'Operator', 'OrgMember', 'Provider', 'AgentTemplate', 'AgentVersion', 'AgentInstance', 'AgentIdentity', 'PolicyEnvelope', 'ApprovalRecord', 'Deployment', 'Role', 'RoleAssignment', 'Permission', 'ChangeRecord', 'OpEvent', 'AuditLog', 'Task', 'Message', 'Run', 'ToolCall', 'ExecutionRequest', 'TaskDependency', 'Review', 'AgentPerformance', 'AgentPattern', 'AgentDocument', 'TelegraphThread', 'TelegraphMessage', 'Meeting', 'VoiceArtifact', 'Workflow', 'WorkflowRun', 'EvaluationSuite', 'EvaluationRun', 'EvaluationMetric', 'CustomScoringFunction', 'NotificationEvent', 'Notification', 'NotificationPreference', 'FeatureFlag', 'Experiment', 'ExperimentAssignment', 'ExperimentEvent', 'Alert', 'OperatorControl', 'SavedView', 'WatchSubscription', 'Webhook', 'WebhookDelivery', 'ThreadSubscription', 'OrgAssignment', 'Capture'))
);
CREATE INDEX ix_legacy_ids_tenant_id_entity_row_id ON gateway.legacy_ids (tenant_id, entity, row_id);

CREATE TABLE gateway.jobs (
    name TEXT COLLATE "C" NOT NULL,
    period_ms BIGINT NOT NULL,
    next_run_at TIMESTAMP(3) WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP(3) WITH TIME ZONE,
    finished_at TIMESTAMP(3) WITH TIME ZONE,
    succeeded_at TIMESTAMP(3) WITH TIME ZONE,
    failures INTEGER DEFAULT 0 NOT NULL,
    last_error TEXT,
    state JSONB DEFAULT '{}'::jsonb NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_jobs PRIMARY KEY (name)
);

CREATE TABLE gateway.retention_marks (
    tenant_id UUID NOT NULL,
    log TEXT NOT NULL,
    first_seq BIGINT DEFAULT 1 NOT NULL,
    removed_before TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_retention_marks PRIMARY KEY (tenant_id, log),
    CONSTRAINT ck_retention_marks_log CHECK (log IN ('op_events', 'audit_logs'))
);

CREATE TABLE change_records (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    type TEXT NOT NULL,
    actor_type TEXT NOT NULL,
    actor_id UUID,
    target_entity TEXT NOT NULL,
    target_id UUID NOT NULL,
    before_state JSONB,
    after_state JSONB,
    reason TEXT,
    evidence_links TEXT[],
    timestamp TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    project_id UUID,
    instance_id UUID,
    version_id UUID,
    summary TEXT,
    idempotency_key TEXT COLLATE "C",
    caused_by_id UUID,
    seq BIGINT NOT NULL,
    content_hash TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_change_records PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_change_records_system_has_no_id CHECK (actor_type <> 'SYSTEM' OR actor_id IS NULL),
    CONSTRAINT ck_change_records_hashes CHECK (content_hash ~ '^[0-9a-f]{64}$' AND prev_hash ~ '^[0-9a-f]{64}$' AND hash ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_change_records_seq CHECK (seq >= 1),
    CONSTRAINT ck_change_records_type CHECK (type IN ('TENANT_BOOTSTRAPPED', 'PROJECT_CREATED', 'ENVIRONMENT_CREATED', 'OPERATOR_CREATED', 'PROVIDER_CREATED', 'TEMPLATE_CREATED', 'TEMPLATE_UPDATED', 'VERSION_CREATED', 'VERSION_TRANSITIONED', 'VERSION_INTEGRITY_VERIFIED', 'VERSION_INTEGRITY_FAILED', 'INSTANCE_CREATED', 'INSTANCE_TRANSITIONED', 'IDENTITY_UPDATED', 'DEPLOYMENT_CREATED', 'DEPLOYMENT_ACTIVATED', 'DEPLOYMENT_ROLLED_BACK', 'POLICY_ATTACHED', 'POLICY_EVALUATED', 'APPROVAL_REQUESTED', 'APPROVAL_DECIDED', 'TASK_CREATED', 'TASK_TRANSITIONED', 'TASK_ASSIGNED', 'WORKFLOW_STARTED', 'WORKFLOW_COMPLETED', 'BUDGET_EXCEEDED', 'LOOP_DETECTED', 'EMERGENCY_PAUSE', 'EMERGENCY_QUARANTINE')),
    CONSTRAINT ck_change_records_actor_type CHECK (actor_type IN ('AGENT', 'HUMAN', 'SYSTEM')),
    CONSTRAINT ck_change_records_target_entity CHECK (target_entity IN ('Tenant', 'Project', 'Environment', 'Operator', 'OrgMember', 'Provider', 'AgentTemplate', 'AgentVersion', 'AgentInstance', 'AgentIdentity', 'PolicyEnvelope', 'ApprovalRecord', 'Deployment', 'Role', 'RoleAssignment', 'Permission', 'ChangeRecord', 'OpEvent', 'AuditLog', 'Task', 'Message', 'Run', 'ToolCall', 'ExecutionRequest', 'TaskDependency', 'Review', 'AgentPerformance', 'AgentPattern', 'AgentDocument', 'TelegraphThread', 'TelegraphMessage', 'Meeting', 'VoiceArtifact', 'Workflow', 'WorkflowRun', 'EvaluationSuite', 'EvaluationRun', 'EvaluationMetric', 'CustomScoringFunction', 'NotificationEvent', 'Notification', 'NotificationPreference', 'FeatureFlag', 'Experiment', 'ExperimentAssignment', 'ExperimentEvent', 'Alert', 'OperatorControl', 'SavedView', 'WatchSubscription', 'Webhook', 'WebhookDelivery', 'ThreadSubscription', 'OrgAssignment', 'Capture'))
);
CREATE INDEX ix_change_records_tenant_id_actor_id_id ON change_records (tenant_id, actor_id, id);
CREATE INDEX ix_change_records_tenant_id_caused_by_id_id ON change_records (tenant_id, caused_by_id, id);
CREATE UNIQUE INDEX ix_change_records_tenant_id_idempotency_key ON change_records (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX ix_change_records_tenant_id_instance_id_id ON change_records (tenant_id, instance_id, id);
CREATE INDEX ix_change_records_tenant_id_project_id_id ON change_records (tenant_id, project_id, id);
CREATE UNIQUE INDEX ix_change_records_tenant_id_seq ON change_records (tenant_id, seq);
CREATE INDEX ix_change_records_tenant_id_target_entity_target_id_id ON change_records (tenant_id, target_entity, target_id, id);
CREATE INDEX ix_change_records_tenant_id_timestamp_id ON change_records (tenant_id, timestamp, id);
CREATE INDEX ix_change_records_tenant_id_type_id ON change_records (tenant_id, type, id);
CREATE INDEX ix_change_records_tenant_id_type_timestamp_id ON change_records (tenant_id, type, timestamp, id);
CREATE INDEX ix_change_records_tenant_id_version_id_id ON change_records (tenant_id, version_id, id);

CREATE TABLE op_events (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    type TEXT NOT NULL,
    instance_id UUID,
    version_id UUID,
    project_id UUID,
    task_id UUID,
    run_id UUID,
    payload JSONB,
    change_record_id UUID,
    timestamp TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    tool_call_id UUID,
    workflow_run_id UUID,
    seq BIGINT NOT NULL,
    event_id TEXT,
    delta_usd NUMERIC(20, 10),
    model TEXT,
    created_at TIMESTAMP(3) WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_op_events PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_op_events_type CHECK (type IN ('RUN_STARTED', 'RUN_STEP', 'RUN_COMPLETED', 'RUN_FAILED', 'TOOL_CALL_STARTED', 'TOOL_CALL_COMPLETED', 'TOOL_CALL_BLOCKED', 'WORKFLOW_STEP_STARTED', 'WORKFLOW_STEP_COMPLETED', 'WORKFLOW_STEP_FAILED', 'HEARTBEAT', 'COST_TICK', 'MESSAGE_SENT', 'DECISION_MADE'))
)
 PARTITION BY RANGE (id);
CREATE INDEX ix_op_events_tenant_id_change_record_id_id ON op_events (tenant_id, change_record_id, id) WHERE change_record_id IS NOT NULL;
CREATE INDEX ix_op_events_tenant_id_instance_id_id ON op_events (tenant_id, instance_id, id) WHERE instance_id IS NOT NULL;
CREATE INDEX ix_op_events_tenant_id_project_id_id ON op_events (tenant_id, project_id, id) WHERE project_id IS NOT NULL;
CREATE INDEX ix_op_events_tenant_id_run_id_id ON op_events (tenant_id, run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX ix_op_events_tenant_id_seq_id ON op_events (tenant_id, seq, id);
CREATE INDEX ix_op_events_tenant_id_task_id_id ON op_events (tenant_id, task_id, id) WHERE task_id IS NOT NULL;
CREATE INDEX ix_op_events_tenant_id_timestamp_id ON op_events (tenant_id, timestamp, id);
CREATE INDEX ix_op_events_tenant_id_tool_call_id_id ON op_events (tenant_id, tool_call_id, id) WHERE tool_call_id IS NOT NULL;
CREATE INDEX ix_op_events_tenant_id_type_timestamp_id ON op_events (tenant_id, type, timestamp, id);
CREATE INDEX ix_op_events_tenant_id_version_id_id ON op_events (tenant_id, version_id, id) WHERE version_id IS NOT NULL;
CREATE INDEX ix_op_events_tenant_id_workflow_run_id_id ON op_events (tenant_id, workflow_run_id, id) WHERE workflow_run_id IS NOT NULL;

CREATE TABLE audit_logs (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    severity TEXT NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    actor_type TEXT NOT NULL,
    actor_id UUID,
    resource TEXT COLLATE "C",
    resource_id TEXT COLLATE "C",
    description TEXT,
    ip_address TEXT,
    user_agent TEXT,
    timestamp TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_audit_logs PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_audit_logs_system_has_no_id CHECK (actor_type <> 'SYSTEM' OR actor_id IS NULL),
    CONSTRAINT ck_audit_logs_severity CHECK (severity IN ('INFO', 'WARNING', 'ERROR')),
    CONSTRAINT ck_audit_logs_actor_type CHECK (actor_type IN ('AGENT', 'HUMAN', 'SYSTEM'))
);
CREATE INDEX ix_audit_logs_tenant_id_action_timestamp_id ON audit_logs (tenant_id, action, timestamp, id);
CREATE INDEX ix_audit_logs_tenant_id_actor_id_id ON audit_logs (tenant_id, actor_id, id);
CREATE INDEX ix_audit_logs_tenant_id_resource_resource_id_id ON audit_logs (tenant_id, resource, resource_id, id);
CREATE INDEX ix_audit_logs_tenant_id_severity_timestamp_id ON audit_logs (tenant_id, severity, timestamp, id);
CREATE INDEX ix_audit_logs_tenant_id_timestamp_id ON audit_logs (tenant_id, timestamp, id);

CREATE TABLE telegraph_threads (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    title TEXT NOT NULL,
    participants TEXT[] DEFAULT '{}' NOT NULL,
    channel TEXT NOT NULL,
    external_thread_ref TEXT COLLATE "C",
    linked_task_id UUID,
    linked_approval_id UUID,
    linked_incident_id TEXT,
    last_message_at TIMESTAMP(3) WITH TIME ZONE,
    message_count INTEGER DEFAULT 0 NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_telegraph_threads PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_telegraph_threads_channel CHECK (channel IN ('INTERNAL', 'TELEGRAM'))
);
CREATE INDEX ix_telegraph_threads_participants ON telegraph_threads USING gin (participants);
CREATE INDEX ix_telegraph_threads_tenant_id_channel_id ON telegraph_threads (tenant_id, channel, id);
CREATE INDEX ix_telegraph_threads_tenant_id_external_thread_ref_id ON telegraph_threads (tenant_id, external_thread_ref, id);
CREATE INDEX ix_telegraph_threads_tenant_id_last_message_at_id ON telegraph_threads (tenant_id, last_message_at, id);
CREATE INDEX ix_telegraph_threads_tenant_id_linked_approval_id_id ON telegraph_threads (tenant_id, linked_approval_id, id);
CREATE INDEX ix_telegraph_threads_tenant_id_linked_task_id_id ON telegraph_threads (tenant_id, linked_task_id, id);
CREATE INDEX ix_telegraph_threads_tenant_id_project_id_id ON telegraph_threads (tenant_id, project_id, id);

CREATE TABLE telegraph_messages (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    thread_id UUID NOT NULL,
    sender_instance_id UUID,
    sender_operator_id UUID,
    sender_type TEXT NOT NULL,
    content TEXT NOT NULL,
    reply_to_id UUID,
    channel TEXT NOT NULL,
    external_ref TEXT COLLATE "C",
    status TEXT DEFAULT 'SENT' NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_telegraph_messages PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_telegraph_messages_sender CHECK (num_nonnulls(sender_instance_id, sender_operator_id) <= 1),
    CONSTRAINT ck_telegraph_messages_sender_type CHECK (sender_type IN ('AGENT', 'HUMAN', 'SYSTEM')),
    CONSTRAINT ck_telegraph_messages_channel CHECK (channel IN ('INTERNAL', 'TELEGRAM')),
    CONSTRAINT ck_telegraph_messages_status CHECK (status IN ('DRAFT', 'SENT', 'DELIVERED', 'READ', 'FAILED'))
);
CREATE INDEX ix_telegraph_messages_tenant_id_external_ref_id ON telegraph_messages (tenant_id, external_ref, id);
CREATE INDEX ix_telegraph_messages_tenant_id_project_id_id ON telegraph_messages (tenant_id, project_id, id);
CREATE INDEX ix_telegraph_messages_tenant_id_reply_to_id_id ON telegraph_messages (tenant_id, reply_to_id, id);
CREATE INDEX ix_telegraph_messages_tenant_id_sender_instance_id_id ON telegraph_messages (tenant_id, sender_instance_id, id);
CREATE INDEX ix_telegraph_messages_tenant_id_sender_operator_id_id ON telegraph_messages (tenant_id, sender_operator_id, id);
CREATE INDEX ix_telegraph_messages_tenant_id_status_id ON telegraph_messages (tenant_id, status, id);
CREATE INDEX ix_telegraph_messages_tenant_id_thread_id_id ON telegraph_messages (tenant_id, thread_id, id);

CREATE TABLE meetings (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    title TEXT NOT NULL,
    agenda TEXT,
    scheduled_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    duration INTEGER NOT NULL,
    status TEXT DEFAULT 'SCHEDULED' NOT NULL,
    host_instance_id UUID,
    participants JSONB NOT NULL,
    provider TEXT NOT NULL,
    external_meeting_ref TEXT,
    notes_doc_path TEXT,
    notes TEXT,
    action_items JSONB,
    calendar_payload TEXT,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_meetings PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_meetings_status CHECK (status IN ('SCHEDULED', 'IN_PROGRESS', 'COMPLETED', 'CANCELLED')),
    CONSTRAINT ck_meetings_provider CHECK (provider IN ('MANUAL', 'ZOOM'))
);
CREATE INDEX ix_meetings_tenant_id_host_instance_id_id ON meetings (tenant_id, host_instance_id, id);
CREATE INDEX ix_meetings_tenant_id_project_id_id ON meetings (tenant_id, project_id, id);
CREATE INDEX ix_meetings_tenant_id_scheduled_at_id ON meetings (tenant_id, scheduled_at, id);
CREATE INDEX ix_meetings_tenant_id_status_id ON meetings (tenant_id, status, id);

CREATE TABLE voice_artifacts (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    instance_id UUID,
    text TEXT NOT NULL,
    transcript TEXT,
    audio_url TEXT,
    audio_storage_id TEXT,
    provider TEXT NOT NULL,
    voice_id TEXT,
    duration_ms INTEGER,
    linked_message_id UUID,
    linked_meeting_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_voice_artifacts PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_voice_artifacts_provider CHECK (provider IN ('ELEVENLABS', 'OTHER'))
);
CREATE INDEX ix_voice_artifacts_tenant_id_instance_id_id ON voice_artifacts (tenant_id, instance_id, id);
CREATE INDEX ix_voice_artifacts_tenant_id_linked_meeting_id_id ON voice_artifacts (tenant_id, linked_meeting_id, id);
CREATE INDEX ix_voice_artifacts_tenant_id_linked_message_id_id ON voice_artifacts (tenant_id, linked_message_id, id);
CREATE INDEX ix_voice_artifacts_tenant_id_project_id_id ON voice_artifacts (tenant_id, project_id, id);
CREATE INDEX ix_voice_artifacts_tenant_id_provider_id ON voice_artifacts (tenant_id, provider, id);

CREATE TABLE evaluation_suites (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    template_id UUID,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT,
    tags TEXT[],
    test_cases JSONB NOT NULL,
    active BOOLEAN DEFAULT true NOT NULL,
    version INTEGER DEFAULT 1 NOT NULL,
    created_by_operator_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_evaluation_suites PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_evaluation_suites_tags ON evaluation_suites USING gin (tags);
CREATE INDEX ix_evaluation_suites_tenant_id_active_id ON evaluation_suites (tenant_id, active, id);
CREATE INDEX ix_evaluation_suites_tenant_id_created_by_operator_id_id ON evaluation_suites (tenant_id, created_by_operator_id, id);
CREATE UNIQUE INDEX ix_evaluation_suites_tenant_id_name ON evaluation_suites (tenant_id, name);
CREATE INDEX ix_evaluation_suites_tenant_id_template_id_id ON evaluation_suites (tenant_id, template_id, id);

CREATE TABLE evaluation_runs (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    suite_id UUID NOT NULL,
    version_id UUID NOT NULL,
    triggered_by TEXT,
    status TEXT DEFAULT 'PENDING' NOT NULL,
    score DOUBLE PRECISION,
    test_results JSONB,
    started_at TIMESTAMP(3) WITH TIME ZONE,
    completed_at TIMESTAMP(3) WITH TIME ZONE,
    pass_rate DOUBLE PRECISION,
    previous_eval_status TEXT,
    triggered_by_operator_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_evaluation_runs PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_evaluation_runs_triggered_by CHECK (triggered_by IN ('MANUAL', 'STATE_TRANSITION', 'SCHEDULED', 'CI')),
    CONSTRAINT ck_evaluation_runs_status CHECK (status IN ('PENDING', 'RUNNING', 'PASSED', 'FAILED', 'CANCELED', 'ERROR')),
    CONSTRAINT ck_evaluation_runs_score CHECK (score BETWEEN 0 AND 1),
    CONSTRAINT ck_evaluation_runs_pass_rate CHECK (pass_rate BETWEEN 0 AND 1),
    CONSTRAINT ck_evaluation_runs_previous_eval_status CHECK (previous_eval_status IN ('NOT_RUN', 'RUNNING', 'PASS', 'FAIL'))
);
CREATE INDEX ix_evaluation_runs_tenant_id_completed_at_id ON evaluation_runs (tenant_id, completed_at, id);
CREATE INDEX ix_evaluation_runs_tenant_id_started_at_id ON evaluation_runs (tenant_id, started_at, id);
CREATE INDEX ix_evaluation_runs_tenant_id_status_id ON evaluation_runs (tenant_id, status, id);
CREATE INDEX ix_evaluation_runs_tenant_id_suite_id_id ON evaluation_runs (tenant_id, suite_id, id);
CREATE INDEX ix_evaluation_runs_tenant_id_triggered_by_id ON evaluation_runs (tenant_id, triggered_by, id);
CREATE INDEX ix_evaluation_runs_tenant_id_triggered_by_operator_id_id ON evaluation_runs (tenant_id, triggered_by_operator_id, id);
CREATE INDEX ix_evaluation_runs_tenant_id_version_id_id ON evaluation_runs (tenant_id, version_id, id);
CREATE UNIQUE INDEX ix_evaluation_runs_tenant_id_version_id_suite_id ON evaluation_runs (tenant_id, version_id, suite_id) WHERE status IN ('PENDING', 'RUNNING');

CREATE TABLE evaluation_metrics (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    evaluation_run_id UUID NOT NULL,
    version_id UUID NOT NULL,
    metric_name TEXT COLLATE "C" NOT NULL,
    metric_value DOUBLE PRECISION NOT NULL,
    unit TEXT,
    timestamp TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    suite_id UUID,
    period TEXT COLLATE "C",
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_evaluation_metrics PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_evaluation_metrics_tenant_id_evaluation_run_id_id ON evaluation_metrics (tenant_id, evaluation_run_id, id);
CREATE INDEX ix_evaluation_metrics_tenant_id_metric_name_timestamp_id ON evaluation_metrics (tenant_id, metric_name, timestamp, id);
CREATE INDEX ix_evaluation_metrics_tenant_id_suite_id_id ON evaluation_metrics (tenant_id, suite_id, id);
CREATE INDEX ix_evaluation_metrics_tenant_id_timestamp_id ON evaluation_metrics (tenant_id, timestamp, id);
CREATE INDEX ix_evaluation_metrics_tenant_id_version_id_id ON evaluation_metrics (tenant_id, version_id, id);
CREATE INDEX ix_evaluation_metrics_tenant_id_version_id_metric_name__8709 ON evaluation_metrics (tenant_id, version_id, metric_name, timestamp, id);

CREATE TABLE custom_scoring_functions (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT,
    function_type TEXT NOT NULL,
    function_body TEXT NOT NULL,
    input_schema JSONB,
    output_schema JSONB,
    active BOOLEAN DEFAULT true NOT NULL,
    created_by_operator_id UUID,
    version INTEGER DEFAULT 1 NOT NULL,
    examples JSONB,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_custom_scoring_functions PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_custom_scoring_functions_function_type CHECK (function_type IN ('JAVASCRIPT', 'REGEX', 'THRESHOLD'))
);
CREATE INDEX ix_custom_scoring_functions_tenant_id_active_id ON custom_scoring_functions (tenant_id, active, id);
CREATE INDEX ix_custom_scoring_functions_tenant_id_created_by_operator_id_id ON custom_scoring_functions (tenant_id, created_by_operator_id, id);
CREATE INDEX ix_custom_scoring_functions_tenant_id_function_type_id ON custom_scoring_functions (tenant_id, function_type, id);
CREATE UNIQUE INDEX ix_custom_scoring_functions_tenant_id_name ON custom_scoring_functions (tenant_id, name);

CREATE TABLE tasks (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID NOT NULL,
    idempotency_key TEXT COLLATE "C",
    title TEXT NOT NULL,
    description TEXT,
    type TEXT NOT NULL,
    status TEXT DEFAULT 'INBOX' NOT NULL,
    priority INTEGER DEFAULT 3 NOT NULL,
    thread_ref JSONB,
    creator_instance_id UUID,
    reviewer_instance_id UUID,
    parent_task_id UUID,
    work_plan JSONB,
    deliverable JSONB,
    review_checklist JSONB,
    review_cycles INTEGER DEFAULT 0 NOT NULL,
    estimated_cost NUMERIC(20, 10),
    actual_cost NUMERIC(20, 10) DEFAULT 0 NOT NULL,
    budget_allocated NUMERIC(20, 10),
    budget_remaining NUMERIC(20, 10),
    due_at TIMESTAMP(3) WITH TIME ZONE,
    started_at TIMESTAMP(3) WITH TIME ZONE,
    submitted_at TIMESTAMP(3) WITH TIME ZONE,
    completed_at TIMESTAMP(3) WITH TIME ZONE,
    scheduled_for TIMESTAMP(3) WITH TIME ZONE,
    recurrence JSONB,
    labels TEXT[],
    blocked_reason TEXT,
    redacted_fields TEXT[],
    source TEXT,
    source_ref TEXT COLLATE "C",
    created_by TEXT,
    created_by_ref TEXT,
    creator_operator_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_tasks PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_tasks_type CHECK (type IN ('CONTENT', 'SOCIAL', 'EMAIL_MARKETING', 'CUSTOMER_RESEARCH', 'SEO_RESEARCH', 'ENGINEERING', 'DOCS', 'OPS')),
    CONSTRAINT ck_tasks_status CHECK (status IN ('INBOX', 'ASSIGNED', 'IN_PROGRESS', 'REVIEW', 'NEEDS_APPROVAL', 'BLOCKED', 'FAILED', 'DONE', 'CANCELED')),
    CONSTRAINT ck_tasks_priority CHECK (priority BETWEEN 1 AND 4),
    CONSTRAINT ck_tasks_source CHECK (source IN ('DASHBOARD', 'TELEGRAM', 'GITHUB', 'AGENT', 'API', 'TRELLO', 'SEED', 'MISSION_PROMPT', 'PRD_IMPORT')),
    CONSTRAINT ck_tasks_created_by CHECK (created_by IN ('HUMAN', 'AGENT', 'SYSTEM'))
);
CREATE INDEX ix_tasks_labels ON tasks USING gin (labels);
CREATE INDEX ix_tasks_tenant_id_completed_at_id ON tasks (tenant_id, completed_at, id);
CREATE INDEX ix_tasks_tenant_id_creator_instance_id_id ON tasks (tenant_id, creator_instance_id, id);
CREATE INDEX ix_tasks_tenant_id_creator_operator_id_id ON tasks (tenant_id, creator_operator_id, id);
CREATE INDEX ix_tasks_tenant_id_due_at_id ON tasks (tenant_id, due_at, id);
CREATE UNIQUE INDEX ix_tasks_tenant_id_idempotency_key ON tasks (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX ix_tasks_tenant_id_parent_task_id_id ON tasks (tenant_id, parent_task_id, id);
CREATE INDEX ix_tasks_tenant_id_priority_id ON tasks (tenant_id, priority, id);
CREATE INDEX ix_tasks_tenant_id_project_id_id ON tasks (tenant_id, project_id, id);
CREATE INDEX ix_tasks_tenant_id_project_id_status_id ON tasks (tenant_id, project_id, status, id);
CREATE INDEX ix_tasks_tenant_id_reviewer_instance_id_id ON tasks (tenant_id, reviewer_instance_id, id);
CREATE INDEX ix_tasks_tenant_id_scheduled_for_id ON tasks (tenant_id, scheduled_for, id);
CREATE INDEX ix_tasks_tenant_id_source_id ON tasks (tenant_id, source, id);
CREATE INDEX ix_tasks_tenant_id_source_ref_id ON tasks (tenant_id, source_ref, id);
CREATE INDEX ix_tasks_tenant_id_status_id ON tasks (tenant_id, status, id);
CREATE INDEX ix_tasks_tenant_id_type_id ON tasks (tenant_id, type, id);

CREATE TABLE task_assignees (
    tenant_id UUID NOT NULL,
    task_id UUID NOT NULL,
    instance_id UUID NOT NULL,
    position INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_task_assignees PRIMARY KEY (tenant_id, task_id, instance_id)
);
CREATE INDEX ix_task_assignees_tenant_id_instance_id_task_id ON task_assignees (tenant_id, instance_id, task_id);

CREATE TABLE messages (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    idempotency_key TEXT COLLATE "C",
    task_id UUID NOT NULL,
    author_type TEXT NOT NULL,
    author_instance_id UUID,
    author_operator_id UUID,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    content_redacted TEXT,
    artifacts JSONB,
    mentions TEXT[],
    reply_to_id UUID,
    thread_ref TEXT,
    redacted_fields TEXT[],
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_messages PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_messages_author CHECK (num_nonnulls(author_instance_id, author_operator_id) <= 1),
    CONSTRAINT ck_messages_author_type CHECK (author_type IN ('AGENT', 'HUMAN', 'SYSTEM')),
    CONSTRAINT ck_messages_type CHECK (type IN ('COMMENT', 'WORK_PLAN', 'PROGRESS', 'ARTIFACT', 'REVIEW', 'APPROVAL_REQUEST', 'SYSTEM'))
);
CREATE INDEX ix_messages_tenant_id_author_instance_id_id ON messages (tenant_id, author_instance_id, id);
CREATE INDEX ix_messages_tenant_id_author_operator_id_id ON messages (tenant_id, author_operator_id, id);
CREATE UNIQUE INDEX ix_messages_tenant_id_idempotency_key ON messages (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX ix_messages_tenant_id_project_id_id ON messages (tenant_id, project_id, id);
CREATE INDEX ix_messages_tenant_id_reply_to_id_id ON messages (tenant_id, reply_to_id, id);
CREATE INDEX ix_messages_tenant_id_task_id_id ON messages (tenant_id, task_id, id);
CREATE INDEX ix_messages_tenant_id_type_id ON messages (tenant_id, type, id);

CREATE TABLE runs (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    instance_id UUID NOT NULL,
    version_id UUID NOT NULL,
    task_id UUID,
    session_key TEXT COLLATE "C" NOT NULL,
    started_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP(3) WITH TIME ZONE,
    duration_ms INTEGER,
    model TEXT COLLATE "C" NOT NULL,
    input_tokens INTEGER DEFAULT 0 NOT NULL,
    output_tokens INTEGER DEFAULT 0 NOT NULL,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    cost_usd NUMERIC(20, 10) DEFAULT 0 NOT NULL,
    budget_allocated NUMERIC(20, 10),
    status TEXT DEFAULT 'RUNNING' NOT NULL,
    error TEXT,
    template_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_runs PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_runs_status CHECK (status IN ('RUNNING', 'COMPLETED', 'FAILED', 'TIMEOUT'))
);
CREATE UNIQUE INDEX ix_runs_tenant_id_idempotency_key ON runs (tenant_id, idempotency_key);
CREATE INDEX ix_runs_tenant_id_instance_id_id ON runs (tenant_id, instance_id, id);
CREATE INDEX ix_runs_tenant_id_model_id ON runs (tenant_id, model, id);
CREATE INDEX ix_runs_tenant_id_project_id_id ON runs (tenant_id, project_id, id);
CREATE INDEX ix_runs_tenant_id_session_key_id ON runs (tenant_id, session_key, id);
CREATE INDEX ix_runs_tenant_id_started_at_id ON runs (tenant_id, started_at, id);
CREATE INDEX ix_runs_tenant_id_status_id ON runs (tenant_id, status, id);
CREATE INDEX ix_runs_tenant_id_task_id_id ON runs (tenant_id, task_id, id);
CREATE INDEX ix_runs_tenant_id_template_id_id ON runs (tenant_id, template_id, id);
CREATE INDEX ix_runs_tenant_id_version_id_id ON runs (tenant_id, version_id, id);

CREATE TABLE tool_calls (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    run_id UUID NOT NULL,
    instance_id UUID NOT NULL,
    task_id UUID,
    tool_name TEXT COLLATE "C" NOT NULL,
    tool_version TEXT,
    risk_level TEXT NOT NULL,
    policy_result JSONB,
    input_preview TEXT,
    output_preview TEXT,
    input_hash TEXT,
    output_hash TEXT,
    started_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP(3) WITH TIME ZONE,
    duration_ms INTEGER,
    status TEXT DEFAULT 'PENDING' NOT NULL,
    error TEXT,
    retry_count INTEGER DEFAULT 0 NOT NULL,
    version_id UUID,
    policy_envelope_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_tool_calls PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_tool_calls_risk_level CHECK (risk_level IN ('GREEN', 'YELLOW', 'RED')),
    CONSTRAINT ck_tool_calls_status CHECK (status IN ('PENDING', 'RUNNING', 'SUCCESS', 'FAILED', 'DENIED'))
);
CREATE INDEX ix_tool_calls_tenant_id_instance_id_id ON tool_calls (tenant_id, instance_id, id);
CREATE INDEX ix_tool_calls_tenant_id_policy_envelope_id_id ON tool_calls (tenant_id, policy_envelope_id, id);
CREATE INDEX ix_tool_calls_tenant_id_project_id_id ON tool_calls (tenant_id, project_id, id);
CREATE INDEX ix_tool_calls_tenant_id_risk_level_id ON tool_calls (tenant_id, risk_level, id);
CREATE INDEX ix_tool_calls_tenant_id_run_id_id ON tool_calls (tenant_id, run_id, id);
CREATE INDEX ix_tool_calls_tenant_id_started_at_id ON tool_calls (tenant_id, started_at, id);
CREATE INDEX ix_tool_calls_tenant_id_status_id ON tool_calls (tenant_id, status, id);
CREATE INDEX ix_tool_calls_tenant_id_task_id_id ON tool_calls (tenant_id, task_id, id);
CREATE INDEX ix_tool_calls_tenant_id_tool_name_id ON tool_calls (tenant_id, tool_name, id);
CREATE INDEX ix_tool_calls_tenant_id_version_id_id ON tool_calls (tenant_id, version_id, id);

CREATE TABLE execution_requests (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    task_id UUID,
    requested_by_instance_id UUID NOT NULL,
    assigned_to TEXT,
    type TEXT NOT NULL,
    executor TEXT NOT NULL,
    status TEXT DEFAULT 'PENDING' NOT NULL,
    payload JSONB NOT NULL,
    result JSONB,
    requested_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    assigned_at TIMESTAMP(3) WITH TIME ZONE,
    completed_at TIMESTAMP(3) WITH TIME ZONE,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_execution_requests PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_execution_requests_type CHECK (type IN ('CODE_CHANGE', 'RESEARCH', 'CONTENT', 'EMAIL', 'SOCIAL', 'OPS')),
    CONSTRAINT ck_execution_requests_executor CHECK (executor IN ('CURSOR', 'CLAUDE_CODE', 'OPENCLAW_AGENT')),
    CONSTRAINT ck_execution_requests_status CHECK (status IN ('PENDING', 'ASSIGNED', 'IN_PROGRESS', 'COMPLETED', 'FAILED'))
);
CREATE INDEX ix_execution_requests_tenant_id_executor_status_id ON execution_requests (tenant_id, executor, status, id);
CREATE INDEX ix_execution_requests_tenant_id_project_id_id ON execution_requests (tenant_id, project_id, id);
CREATE INDEX ix_execution_requests_tenant_id_requested_at_id ON execution_requests (tenant_id, requested_at, id);
CREATE INDEX ix_execution_requests_tenant_id_requested_by_instance_id_id ON execution_requests (tenant_id, requested_by_instance_id, id);
CREATE INDEX ix_execution_requests_tenant_id_status_id ON execution_requests (tenant_id, status, id);
CREATE INDEX ix_execution_requests_tenant_id_task_id_id ON execution_requests (tenant_id, task_id, id);
CREATE INDEX ix_execution_requests_tenant_id_type_id ON execution_requests (tenant_id, type, id);

CREATE TABLE task_dependencies (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    parent_task_id UUID NOT NULL,
    task_id UUID NOT NULL,
    depends_on_task_id UUID NOT NULL,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_task_dependencies PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_task_dependencies_no_self_edge CHECK (task_id <> depends_on_task_id)
);
CREATE INDEX ix_task_dependencies_tenant_id_depends_on_task_id_id ON task_dependencies (tenant_id, depends_on_task_id, id);
CREATE INDEX ix_task_dependencies_tenant_id_parent_task_id_id ON task_dependencies (tenant_id, parent_task_id, id);
CREATE UNIQUE INDEX ix_task_dependencies_tenant_id_task_id_depends_on_task_id ON task_dependencies (tenant_id, task_id, depends_on_task_id);
CREATE INDEX ix_task_dependencies_tenant_id_task_id_id ON task_dependencies (tenant_id, task_id, id);

CREATE TABLE reviews (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID NOT NULL,
    task_id UUID NOT NULL,
    type TEXT NOT NULL,
    status TEXT DEFAULT 'PENDING' NOT NULL,
    reviewer_instance_id UUID,
    reviewer_operator_id UUID,
    target_type TEXT NOT NULL,
    target_id TEXT,
    summary TEXT NOT NULL,
    details TEXT,
    score DOUBLE PRECISION,
    severity TEXT,
    changeset JSONB,
    response_by_instance_id UUID,
    response_text TEXT,
    resolved_at TIMESTAMP(3) WITH TIME ZONE,
    response_by_operator_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_reviews PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_reviews_reviewer CHECK (num_nonnulls(reviewer_instance_id, reviewer_operator_id) <= 1),
    CONSTRAINT ck_reviews_response_by CHECK (num_nonnulls(response_by_instance_id, response_by_operator_id) <= 1),
    CONSTRAINT ck_reviews_type CHECK (type IN ('PRAISE', 'REFUTE', 'CHANGESET', 'APPROVE')),
    CONSTRAINT ck_reviews_status CHECK (status IN ('PENDING', 'ACCEPTED', 'REJECTED', 'SUPERSEDED')),
    CONSTRAINT ck_reviews_target_type CHECK (target_type IN ('TASK', 'DELIVERABLE', 'ARTIFACT', 'CODE_CHANGE')),
    CONSTRAINT ck_reviews_severity CHECK (severity IN ('MINOR', 'MAJOR', 'CRITICAL'))
);
CREATE INDEX ix_reviews_tenant_id_project_id_id ON reviews (tenant_id, project_id, id);
CREATE INDEX ix_reviews_tenant_id_response_by_instance_id_id ON reviews (tenant_id, response_by_instance_id, id);
CREATE INDEX ix_reviews_tenant_id_response_by_operator_id_id ON reviews (tenant_id, response_by_operator_id, id);
CREATE INDEX ix_reviews_tenant_id_reviewer_instance_id_id ON reviews (tenant_id, reviewer_instance_id, id);
CREATE INDEX ix_reviews_tenant_id_reviewer_operator_id_id ON reviews (tenant_id, reviewer_operator_id, id);
CREATE INDEX ix_reviews_tenant_id_status_id ON reviews (tenant_id, status, id);
CREATE INDEX ix_reviews_tenant_id_task_id_id ON reviews (tenant_id, task_id, id);
CREATE INDEX ix_reviews_tenant_id_type_id ON reviews (tenant_id, type, id);

CREATE TABLE policy_envelopes (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    attached_to_tenant BOOLEAN DEFAULT false NOT NULL,
    attached_to_project_id UUID,
    attached_to_template_id UUID,
    attached_to_version_id UUID,
    autonomy_tier INTEGER,
    allowed_tools TEXT[],
    denied_tools TEXT[],
    data_scopes TEXT[],
    caps JSONB,
    approval_triggers TEXT[],
    enforcement_points TEXT[],
    tool_risk_map JSONB,
    shell_allowlist TEXT[],
    shell_blocklist TEXT[],
    file_read_paths TEXT[],
    file_write_paths TEXT[],
    network_allowlist TEXT[],
    loop_thresholds JSONB,
    spawn_limits JSONB,
    version INTEGER DEFAULT 1 NOT NULL,
    active BOOLEAN DEFAULT true NOT NULL,
    created_by_operator_id UUID,
    cost_limits JSONB,
    allowed_task_types TEXT[],
    priority INTEGER DEFAULT 100 NOT NULL,
    require_approval_on_risk TEXT[],
    tool_policies JSONB,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_policy_envelopes PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_policy_envelopes_one_level CHECK (attached_to_tenant::int + num_nonnulls(attached_to_project_id, attached_to_template_id, attached_to_version_id) = 1),
    CONSTRAINT ck_policy_envelopes_tenant_tier CHECK (NOT attached_to_tenant OR autonomy_tier IS NOT NULL),
    CONSTRAINT ck_policy_envelopes_autonomy_tier CHECK (autonomy_tier BETWEEN 0 AND 5),
    CONSTRAINT ck_policy_envelopes_allowed_task_types CHECK (allowed_task_types <@ ARRAY['CONTENT', 'SOCIAL', 'EMAIL_MARKETING', 'CUSTOMER_RESEARCH', 'SEO_RESEARCH', 'ENGINEERING', 'DOCS', 'OPS']),
    CONSTRAINT ck_policy_envelopes_require_approval_on_risk CHECK (require_approval_on_risk <@ ARRAY['GREEN', 'YELLOW', 'RED'])
);
CREATE INDEX ix_policy_envelopes_tenant_id_active_id ON policy_envelopes (tenant_id, active, id);
CREATE INDEX ix_policy_envelopes_tenant_id_attached_to_project_id_id ON policy_envelopes (tenant_id, attached_to_project_id, id);
CREATE INDEX ix_policy_envelopes_tenant_id_attached_to_template_id_id ON policy_envelopes (tenant_id, attached_to_template_id, id);
CREATE INDEX ix_policy_envelopes_tenant_id_attached_to_tenant_id ON policy_envelopes (tenant_id, attached_to_tenant, id);
CREATE INDEX ix_policy_envelopes_tenant_id_attached_to_version_id_id ON policy_envelopes (tenant_id, attached_to_version_id, id);
CREATE INDEX ix_policy_envelopes_tenant_id_autonomy_tier_id ON policy_envelopes (tenant_id, autonomy_tier, id);
CREATE INDEX ix_policy_envelopes_tenant_id_created_by_operator_id_id ON policy_envelopes (tenant_id, created_by_operator_id, id);
CREATE UNIQUE INDEX ix_policy_envelopes_tenant_id_name ON policy_envelopes (tenant_id, name) WHERE active;
CREATE INDEX ix_policy_envelopes_tenant_id_name_id ON policy_envelopes (tenant_id, name, id);

CREATE TABLE approval_records (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    request_type TEXT COLLATE "C" NOT NULL,
    request_scope TEXT,
    requester_id UUID,
    requester_instance_id UUID,
    target_entity TEXT,
    target_id UUID,
    action_summary TEXT NOT NULL,
    justification TEXT NOT NULL,
    rollback_plan TEXT,
    risk_level TEXT,
    estimated_cost NUMERIC(20, 10),
    status TEXT DEFAULT 'PENDING' NOT NULL,
    decided_by_operator_id UUID,
    decided_at TIMESTAMP(3) WITH TIME ZONE,
    decision_reason TEXT,
    escalation_level INTEGER DEFAULT 0 NOT NULL,
    escalated_at TIMESTAMP(3) WITH TIME ZONE,
    escalated_by_operator_id UUID,
    required_decision_count INTEGER DEFAULT 1 NOT NULL,
    decision_count INTEGER DEFAULT 0 NOT NULL,
    expires_at TIMESTAMP(3) WITH TIME ZONE,
    policy_envelope_id UUID,
    evidence_links TEXT[],
    project_id UUID,
    task_id UUID,
    tool_call_id UUID,
    version_id UUID,
    idempotency_key TEXT COLLATE "C",
    action_payload JSONB,
    decisions JSONB,
    escalation_reason TEXT,
    legacy_approval_id TEXT COLLATE "C",
    requested_at TIMESTAMP(3) WITH TIME ZONE,
    used_at TIMESTAMP(3) WITH TIME ZONE,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_approval_records PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_approval_records_one_requester CHECK (num_nonnulls(requester_id, requester_instance_id) <= 1),
    CONSTRAINT ck_approval_records_target CHECK (num_nonnulls(target_entity, target_id) IN (0, 2)),
    CONSTRAINT ck_approval_records_decision_counts CHECK (required_decision_count >= 1 AND decision_count >= 0),
    CONSTRAINT ck_approval_records_target_entity CHECK (target_entity IN ('Tenant', 'Project', 'Environment', 'Operator', 'OrgMember', 'Provider', 'AgentTemplate', 'AgentVersion', 'AgentInstance', 'AgentIdentity', 'PolicyEnvelope', 'ApprovalRecord', 'Deployment', 'Role', 'RoleAssignment', 'Permission', 'ChangeRecord', 'OpEvent', 'AuditLog', 'Task', 'Message', 'Run', 'ToolCall', 'ExecutionRequest', 'TaskDependency', 'Review', 'AgentPerformance', 'AgentPattern', 'AgentDocument', 'TelegraphThread', 'TelegraphMessage', 'Meeting', 'VoiceArtifact', 'Workflow', 'WorkflowRun', 'EvaluationSuite', 'EvaluationRun', 'EvaluationMetric', 'CustomScoringFunction', 'NotificationEvent', 'Notification', 'NotificationPreference', 'FeatureFlag', 'Experiment', 'ExperimentAssignment', 'ExperimentEvent', 'Alert', 'OperatorControl', 'SavedView', 'WatchSubscription', 'Webhook', 'WebhookDelivery', 'ThreadSubscription', 'OrgAssignment', 'Capture')),
    CONSTRAINT ck_approval_records_risk_level CHECK (risk_level IN ('GREEN', 'YELLOW', 'RED')),
    CONSTRAINT ck_approval_records_status CHECK (status IN ('PENDING', 'ESCALATED', 'APPROVED', 'DENIED', 'EXPIRED', 'CANCELED')),
    CONSTRAINT ck_approval_records_escalation_level CHECK (escalation_level BETWEEN 0 AND 3)
);
CREATE INDEX ix_approval_records_tenant_id_decided_by_operator_id_id ON approval_records (tenant_id, decided_by_operator_id, id);
CREATE INDEX ix_approval_records_tenant_id_escalated_by_operator_id_id ON approval_records (tenant_id, escalated_by_operator_id, id);
CREATE UNIQUE INDEX ix_approval_records_tenant_id_idempotency_key ON approval_records (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX ix_approval_records_tenant_id_legacy_approval_id ON approval_records (tenant_id, legacy_approval_id) WHERE legacy_approval_id IS NOT NULL;
CREATE INDEX ix_approval_records_tenant_id_policy_envelope_id_id ON approval_records (tenant_id, policy_envelope_id, id);
CREATE INDEX ix_approval_records_tenant_id_project_id_id ON approval_records (tenant_id, project_id, id);
CREATE INDEX ix_approval_records_tenant_id_request_type_id ON approval_records (tenant_id, request_type, id);
CREATE INDEX ix_approval_records_tenant_id_requester_id_id ON approval_records (tenant_id, requester_id, id);
CREATE INDEX ix_approval_records_tenant_id_requester_instance_id_id ON approval_records (tenant_id, requester_instance_id, id);
CREATE INDEX ix_approval_records_tenant_id_risk_level_id ON approval_records (tenant_id, risk_level, id);
CREATE INDEX ix_approval_records_tenant_id_status_expires_at_id ON approval_records (tenant_id, status, expires_at, id);
CREATE INDEX ix_approval_records_tenant_id_status_id ON approval_records (tenant_id, status, id);
CREATE INDEX ix_approval_records_tenant_id_target_entity_target_id_id ON approval_records (tenant_id, target_entity, target_id, id);
CREATE INDEX ix_approval_records_tenant_id_task_id_id ON approval_records (tenant_id, task_id, id);
CREATE INDEX ix_approval_records_tenant_id_tool_call_id_id ON approval_records (tenant_id, tool_call_id, id);
CREATE INDEX ix_approval_records_tenant_id_version_id_id ON approval_records (tenant_id, version_id, id);

CREATE TABLE deployments (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    template_id UUID NOT NULL,
    environment_id UUID NOT NULL,
    target_version_id UUID NOT NULL,
    previous_version_id UUID,
    rollout_policy JSONB,
    status TEXT DEFAULT 'PENDING' NOT NULL,
    created_by_operator_id UUID NOT NULL,
    approved_by_operator_id UUID,
    activated_at TIMESTAMP(3) WITH TIME ZONE,
    retired_at TIMESTAMP(3) WITH TIME ZONE,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_deployments PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_deployments_status CHECK (status IN ('PENDING', 'ACTIVE', 'ROLLING_BACK', 'RETIRED'))
);
CREATE INDEX ix_deployments_tenant_id_approved_by_operator_id_id ON deployments (tenant_id, approved_by_operator_id, id);
CREATE INDEX ix_deployments_tenant_id_created_by_operator_id_id ON deployments (tenant_id, created_by_operator_id, id);
CREATE INDEX ix_deployments_tenant_id_environment_id_id ON deployments (tenant_id, environment_id, id);
CREATE INDEX ix_deployments_tenant_id_previous_version_id_id ON deployments (tenant_id, previous_version_id, id);
CREATE INDEX ix_deployments_tenant_id_status_id ON deployments (tenant_id, status, id);
CREATE INDEX ix_deployments_tenant_id_target_version_id_id ON deployments (tenant_id, target_version_id, id);
CREATE UNIQUE INDEX ix_deployments_tenant_id_template_id_environment_id ON deployments (tenant_id, template_id, environment_id) WHERE status = 'ACTIVE';
CREATE INDEX ix_deployments_tenant_id_template_id_environment_id_id ON deployments (tenant_id, template_id, environment_id, id);

CREATE TABLE roles (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT,
    permissions TEXT[] NOT NULL,
    is_system BOOLEAN DEFAULT false NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_roles PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_roles_permissions ON roles USING gin (permissions);
CREATE INDEX ix_roles_tenant_id_is_system_id ON roles (tenant_id, is_system, id);
CREATE UNIQUE INDEX ix_roles_tenant_id_name ON roles (tenant_id, name);

CREATE TABLE role_assignments (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    role_id UUID NOT NULL,
    operator_id UUID NOT NULL,
    project_id UUID,
    environment_id UUID,
    assigned_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    assigned_by_operator_id UUID,
    expires_at TIMESTAMP(3) WITH TIME ZONE,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_role_assignments PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_role_assignments_tenant_id_assigned_by_operator_id_id ON role_assignments (tenant_id, assigned_by_operator_id, id);
CREATE INDEX ix_role_assignments_tenant_id_environment_id_id ON role_assignments (tenant_id, environment_id, id);
CREATE INDEX ix_role_assignments_tenant_id_operator_id_id ON role_assignments (tenant_id, operator_id, id);
CREATE INDEX ix_role_assignments_tenant_id_operator_id_project_id_id ON role_assignments (tenant_id, operator_id, project_id, id);
CREATE UNIQUE INDEX ix_role_assignments_tenant_id_operator_id_role_id_proje_110f ON role_assignments (tenant_id, operator_id, role_id, project_id, environment_id) NULLS NOT DISTINCT;
CREATE INDEX ix_role_assignments_tenant_id_project_id_id ON role_assignments (tenant_id, project_id, id);
CREATE INDEX ix_role_assignments_tenant_id_role_id_id ON role_assignments (tenant_id, role_id, id);

CREATE TABLE permissions (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    description TEXT,
    category TEXT COLLATE "C",
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_permissions PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_permissions_tenant_id_category_id ON permissions (tenant_id, category, id);
CREATE UNIQUE INDEX ix_permissions_tenant_id_resource_action ON permissions (tenant_id, resource, action);
CREATE INDEX ix_permissions_tenant_id_resource_id ON permissions (tenant_id, resource, id);

CREATE TABLE tenants (
    id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    slug TEXT COLLATE "C" NOT NULL,
    plan TEXT,
    settings JSONB,
    billing_email TEXT,
    max_environments INTEGER,
    max_operators INTEGER,
    gdpr_data_region TEXT,
    op_event_retention_days INTEGER,
    active BOOLEAN DEFAULT true NOT NULL,
    audit_retention_days INTEGER DEFAULT 90 NOT NULL,
    timezone TEXT DEFAULT 'UTC' NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_tenants PRIMARY KEY (id),
    CONSTRAINT uq_tenants_slug UNIQUE (slug),
    CONSTRAINT ck_tenants_plan CHECK (plan IN ('FREE', 'TEAM', 'ENTERPRISE')),
    CONSTRAINT ck_tenants_op_event_retention_days CHECK (op_event_retention_days BETWEEN 1 AND 3650)
);

CREATE TABLE projects (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    slug TEXT COLLATE "C" NOT NULL,
    description TEXT,
    github_repo TEXT COLLATE "C",
    github_branch TEXT,
    github_webhook_secret TEXT,
    swarm_config JSONB,
    policy_defaults JSONB,
    default_environment_id UUID,
    deleted_at TIMESTAMP(3) WITH TIME ZONE,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_projects PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_projects_tenant_id_default_environment_id_id ON projects (tenant_id, default_environment_id, id);
CREATE INDEX ix_projects_tenant_id_github_repo_id ON projects (tenant_id, github_repo, id);
CREATE INDEX ix_projects_tenant_id_name_id ON projects (tenant_id, name, id);
CREATE UNIQUE INDEX ix_projects_tenant_id_slug ON projects (tenant_id, slug);

CREATE TABLE environments (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    slug TEXT COLLATE "C" NOT NULL,
    is_production BOOLEAN NOT NULL,
    config JSONB,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_environments PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_environments_tenant_id_is_production_id ON environments (tenant_id, is_production, id);
CREATE UNIQUE INDEX ix_environments_tenant_id_slug ON environments (tenant_id, slug);

CREATE TABLE operators (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    auth_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    email TEXT COLLATE "C" NOT NULL,
    avatar_url TEXT,
    status TEXT DEFAULT 'ACTIVE' NOT NULL,
    last_login_at TIMESTAMP(3) WITH TIME ZONE,
    gdpr_consent_at TIMESTAMP(3) WITH TIME ZONE,
    gdpr_data_export_at TIMESTAMP(3) WITH TIME ZONE,
    gdpr_deletion_request_at TIMESTAMP(3) WITH TIME ZONE,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_operators PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_operators_status CHECK (status IN ('ACTIVE', 'SUSPENDED', 'DEACTIVATED'))
);
CREATE UNIQUE INDEX ix_operators_tenant_id_auth_id ON operators (tenant_id, auth_id);
CREATE INDEX ix_operators_tenant_id_email_id ON operators (tenant_id, email, id);
CREATE INDEX ix_operators_tenant_id_name_id ON operators (tenant_id, name, id);
CREATE INDEX ix_operators_tenant_id_status_id ON operators (tenant_id, status, id);

CREATE TABLE org_members (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    name TEXT COLLATE "C" NOT NULL,
    email TEXT COLLATE "C",
    role TEXT NOT NULL,
    title TEXT,
    avatar TEXT,
    parent_member_id UUID,
    level INTEGER NOT NULL,
    responsibilities TEXT[],
    active BOOLEAN DEFAULT true NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_org_members PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_org_members_tenant_id_active_id ON org_members (tenant_id, active, id);
CREATE INDEX ix_org_members_tenant_id_email_id ON org_members (tenant_id, email, id);
CREATE INDEX ix_org_members_tenant_id_name_id ON org_members (tenant_id, name, id);
CREATE INDEX ix_org_members_tenant_id_parent_member_id_id ON org_members (tenant_id, parent_member_id, id);
CREATE INDEX ix_org_members_tenant_id_project_id_id ON org_members (tenant_id, project_id, id);

CREATE TABLE providers (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    type TEXT NOT NULL,
    config JSONB,
    status TEXT DEFAULT 'ACTIVE' NOT NULL,
    health_endpoint TEXT,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_providers PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_providers_type CHECK (type IN ('ANTHROPIC', 'OPENAI', 'GOOGLE', 'LOCAL', 'CUSTOM')),
    CONSTRAINT ck_providers_status CHECK (status IN ('ACTIVE', 'DEGRADED', 'OFFLINE'))
);
CREATE INDEX ix_providers_tenant_id_status_id ON providers (tenant_id, status, id);
CREATE INDEX ix_providers_tenant_id_type_id ON providers (tenant_id, type, id);

CREATE TABLE agent_performance (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    instance_id UUID NOT NULL,
    version_id UUID NOT NULL,
    project_id UUID,
    task_type TEXT COLLATE "C" NOT NULL,
    success_count INTEGER DEFAULT 0 NOT NULL,
    failure_count INTEGER DEFAULT 0 NOT NULL,
    avg_completion_time_ms DOUBLE PRECISION DEFAULT 0.0 NOT NULL,
    avg_cost_usd NUMERIC(20, 10) DEFAULT 0 NOT NULL,
    total_tasks_completed INTEGER DEFAULT 0 NOT NULL,
    last_updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_agent_performance PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_agent_performance_tenant_id_instance_id_id ON agent_performance (tenant_id, instance_id, id);
CREATE UNIQUE INDEX ix_agent_performance_tenant_id_instance_id_version_id_task_type ON agent_performance (tenant_id, instance_id, version_id, task_type);
CREATE INDEX ix_agent_performance_tenant_id_project_id_id ON agent_performance (tenant_id, project_id, id);
CREATE INDEX ix_agent_performance_tenant_id_task_type_id ON agent_performance (tenant_id, task_type, id);
CREATE INDEX ix_agent_performance_tenant_id_version_id_id ON agent_performance (tenant_id, version_id, id);

CREATE TABLE agent_patterns (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    instance_id UUID NOT NULL,
    project_id UUID,
    pattern TEXT COLLATE "C" NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    evidence TEXT[] DEFAULT '{}' NOT NULL,
    discovered_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    last_seen_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    version_id UUID NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_agent_patterns PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_agent_patterns_confidence CHECK (confidence BETWEEN 0 AND 1)
);
CREATE INDEX ix_agent_patterns_tenant_id_confidence_id ON agent_patterns (tenant_id, confidence, id);
CREATE INDEX ix_agent_patterns_tenant_id_instance_id_id ON agent_patterns (tenant_id, instance_id, id);
CREATE UNIQUE INDEX ix_agent_patterns_tenant_id_instance_id_version_id_pattern ON agent_patterns (tenant_id, instance_id, version_id, pattern);
CREATE INDEX ix_agent_patterns_tenant_id_pattern_id ON agent_patterns (tenant_id, pattern, id);
CREATE INDEX ix_agent_patterns_tenant_id_project_id_id ON agent_patterns (tenant_id, project_id, id);
CREATE INDEX ix_agent_patterns_tenant_id_version_id_id ON agent_patterns (tenant_id, version_id, id);

CREATE TABLE agent_documents (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    instance_id UUID NOT NULL,
    project_id UUID,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_agent_documents PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_agent_documents_type CHECK (type IN ('WORKING_MD', 'DAILY_NOTE', 'SESSION_MEMORY'))
);
CREATE INDEX ix_agent_documents_tenant_id_instance_id_id ON agent_documents (tenant_id, instance_id, id);
CREATE UNIQUE INDEX ix_agent_documents_tenant_id_instance_id_type ON agent_documents (tenant_id, instance_id, type);
CREATE INDEX ix_agent_documents_tenant_id_project_id_id ON agent_documents (tenant_id, project_id, id);
CREATE INDEX ix_agent_documents_tenant_id_type_id ON agent_documents (tenant_id, type, id);
CREATE INDEX ix_agent_documents_tenant_id_updated_at_id ON agent_documents (tenant_id, updated_at, id);

CREATE TABLE notification_events (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    event_type TEXT COLLATE "C" NOT NULL,
    source_entity TEXT NOT NULL,
    source_id UUID NOT NULL,
    payload JSONB,
    processed_at TIMESTAMP(3) WITH TIME ZONE,
    timestamp TIMESTAMP(3) WITH TIME ZONE,
    attempts INTEGER DEFAULT 0 NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_notification_events PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_notification_events_source_entity CHECK (source_entity IN ('Tenant', 'Project', 'Environment', 'Operator', 'OrgMember', 'Provider', 'AgentTemplate', 'AgentVersion', 'AgentInstance', 'AgentIdentity', 'PolicyEnvelope', 'ApprovalRecord', 'Deployment', 'Role', 'RoleAssignment', 'Permission', 'ChangeRecord', 'OpEvent', 'AuditLog', 'Task', 'Message', 'Run', 'ToolCall', 'ExecutionRequest', 'TaskDependency', 'Review', 'AgentPerformance', 'AgentPattern', 'AgentDocument', 'TelegraphThread', 'TelegraphMessage', 'Meeting', 'VoiceArtifact', 'Workflow', 'WorkflowRun', 'EvaluationSuite', 'EvaluationRun', 'EvaluationMetric', 'CustomScoringFunction', 'NotificationEvent', 'Notification', 'NotificationPreference', 'FeatureFlag', 'Experiment', 'ExperimentAssignment', 'ExperimentEvent', 'Alert', 'OperatorControl', 'SavedView', 'WatchSubscription', 'Webhook', 'WebhookDelivery', 'ThreadSubscription', 'OrgAssignment', 'Capture'))
);
CREATE INDEX ix_notification_events_tenant_id_event_type_timestamp_id ON notification_events (tenant_id, event_type, timestamp, id);
CREATE INDEX ix_notification_events_tenant_id_processed_at_id ON notification_events (tenant_id, processed_at, id);
CREATE INDEX ix_notification_events_tenant_id_source_entity_source_id_id ON notification_events (tenant_id, source_entity, source_id, id);
CREATE INDEX ix_notification_events_tenant_id_timestamp_id ON notification_events (tenant_id, timestamp, id);

CREATE TABLE notifications (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    operator_id UUID,
    type TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT,
    task_id UUID,
    approval_record_id UUID,
    deployment_id UUID,
    from_instance_id UUID,
    from_operator_id UUID,
    channel TEXT DEFAULT 'IN_APP',
    read_at TIMESTAMP(3) WITH TIME ZONE,
    event_id UUID,
    severity TEXT,
    instance_id UUID,
    message_id UUID,
    expires_at TIMESTAMP(3) WITH TIME ZONE,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_notifications PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_notifications_recipient CHECK (num_nonnulls(operator_id, instance_id) = 1),
    CONSTRAINT ck_notifications_type CHECK (type IN ('MENTION', 'TASK_ASSIGNED', 'TASK_TRANSITION', 'APPROVAL_REQUESTED', 'APPROVAL_DECIDED', 'DEPLOYMENT_ACTIVATED', 'EVALUATION_COMPLETED', 'ALERT', 'SYSTEM')),
    CONSTRAINT ck_notifications_channel CHECK (channel IN ('IN_APP', 'EMAIL', 'SLACK', 'WEBHOOK')),
    CONSTRAINT ck_notifications_severity CHECK (severity IN ('INFO', 'SUCCESS', 'WARNING', 'ERROR'))
);
CREATE INDEX ix_notifications_tenant_id_approval_record_id_id ON notifications (tenant_id, approval_record_id, id);
CREATE INDEX ix_notifications_tenant_id_deployment_id_id ON notifications (tenant_id, deployment_id, id);
CREATE INDEX ix_notifications_tenant_id_event_id_id ON notifications (tenant_id, event_id, id);
CREATE UNIQUE INDEX ix_notifications_tenant_id_event_id_instance_id_channel ON notifications (tenant_id, event_id, instance_id, channel) WHERE instance_id IS NOT NULL;
CREATE UNIQUE INDEX ix_notifications_tenant_id_event_id_operator_id_channel ON notifications (tenant_id, event_id, operator_id, channel) WHERE operator_id IS NOT NULL;
CREATE INDEX ix_notifications_tenant_id_expires_at_id ON notifications (tenant_id, expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX ix_notifications_tenant_id_from_instance_id_id ON notifications (tenant_id, from_instance_id, id);
CREATE INDEX ix_notifications_tenant_id_from_operator_id_id ON notifications (tenant_id, from_operator_id, id);
CREATE INDEX ix_notifications_tenant_id_instance_id_id ON notifications (tenant_id, instance_id, id);
CREATE INDEX ix_notifications_tenant_id_instance_id_read_at_id ON notifications (tenant_id, instance_id, read_at, id) WHERE read_at IS NULL;
CREATE INDEX ix_notifications_tenant_id_message_id_id ON notifications (tenant_id, message_id, id);
CREATE INDEX ix_notifications_tenant_id_operator_id_id ON notifications (tenant_id, operator_id, id);
CREATE INDEX ix_notifications_tenant_id_operator_id_read_at_id ON notifications (tenant_id, operator_id, read_at, id) WHERE read_at IS NULL;
CREATE INDEX ix_notifications_tenant_id_read_at_id ON notifications (tenant_id, read_at, id);
CREATE INDEX ix_notifications_tenant_id_severity_id ON notifications (tenant_id, severity, id);
CREATE INDEX ix_notifications_tenant_id_task_id_id ON notifications (tenant_id, task_id, id);
CREATE INDEX ix_notifications_tenant_id_type_id ON notifications (tenant_id, type, id);

CREATE TABLE notification_preferences (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    operator_id UUID NOT NULL,
    channel TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    filters JSONB,
    frequency TEXT,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_notification_preferences PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_notification_preferences_frequency CHECK (frequency IN ('immediate', 'hourly', 'daily')),
    CONSTRAINT ck_notification_preferences_channel CHECK (channel IN ('IN_APP', 'EMAIL', 'SLACK', 'WEBHOOK'))
);
CREATE INDEX ix_notification_preferences_tenant_id_channel_id ON notification_preferences (tenant_id, channel, id);
CREATE UNIQUE INDEX ix_notification_preferences_tenant_id_operator_id_channel ON notification_preferences (tenant_id, operator_id, channel);
CREATE INDEX ix_notification_preferences_tenant_id_operator_id_id ON notification_preferences (tenant_id, operator_id, id);

CREATE TABLE feature_flags (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    enabled BOOLEAN DEFAULT false NOT NULL,
    description TEXT,
    conditions JSONB,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_feature_flags PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_feature_flags_tenant_id_enabled_id ON feature_flags (tenant_id, enabled, id);
CREATE UNIQUE INDEX ix_feature_flags_tenant_id_key ON feature_flags (tenant_id, key);

CREATE TABLE experiments (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT,
    variants JSONB NOT NULL,
    status TEXT DEFAULT 'DRAFT' NOT NULL,
    started_at TIMESTAMP(3) WITH TIME ZONE,
    ended_at TIMESTAMP(3) WITH TIME ZONE,
    key TEXT COLLATE "C",
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_experiments PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_experiments_status CHECK (status IN ('DRAFT', 'ACTIVE', 'COMPLETED'))
);
CREATE UNIQUE INDEX ix_experiments_tenant_id_key ON experiments (tenant_id, key) WHERE key IS NOT NULL;
CREATE INDEX ix_experiments_tenant_id_name_id ON experiments (tenant_id, name, id);
CREATE INDEX ix_experiments_tenant_id_started_at_id ON experiments (tenant_id, started_at, id);
CREATE INDEX ix_experiments_tenant_id_status_id ON experiments (tenant_id, status, id);

CREATE TABLE experiment_assignments (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    experiment_id UUID NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id UUID NOT NULL,
    variant_id TEXT COLLATE "C" NOT NULL,
    assigned_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_experiment_assignments PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_experiment_assignments_entity_type CHECK (entity_type IN ('Tenant', 'Project', 'Environment', 'Operator', 'OrgMember', 'Provider', 'AgentTemplate', 'AgentVersion', 'AgentInstance', 'AgentIdentity', 'PolicyEnvelope', 'ApprovalRecord', 'Deployment', 'Role', 'RoleAssignment', 'Permission', 'ChangeRecord', 'OpEvent', 'AuditLog', 'Task', 'Message', 'Run', 'ToolCall', 'ExecutionRequest', 'TaskDependency', 'Review', 'AgentPerformance', 'AgentPattern', 'AgentDocument', 'TelegraphThread', 'TelegraphMessage', 'Meeting', 'VoiceArtifact', 'Workflow', 'WorkflowRun', 'EvaluationSuite', 'EvaluationRun', 'EvaluationMetric', 'CustomScoringFunction', 'NotificationEvent', 'Notification', 'NotificationPreference', 'FeatureFlag', 'Experiment', 'ExperimentAssignment', 'ExperimentEvent', 'Alert', 'OperatorControl', 'SavedView', 'WatchSubscription', 'Webhook', 'WebhookDelivery', 'ThreadSubscription', 'OrgAssignment', 'Capture'))
);
CREATE INDEX ix_experiment_assignments_tenant_id_entity_type_entity_id_id ON experiment_assignments (tenant_id, entity_type, entity_id, id);
CREATE UNIQUE INDEX ix_experiment_assignments_tenant_id_experiment_id_entit_02ad ON experiment_assignments (tenant_id, experiment_id, entity_type, entity_id);
CREATE INDEX ix_experiment_assignments_tenant_id_experiment_id_id ON experiment_assignments (tenant_id, experiment_id, id);
CREATE INDEX ix_experiment_assignments_tenant_id_variant_id_id ON experiment_assignments (tenant_id, variant_id, id);

CREATE TABLE experiment_events (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    experiment_id UUID NOT NULL,
    variant_id TEXT COLLATE "C" NOT NULL,
    event_type TEXT COLLATE "C" NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id UUID NOT NULL,
    value DOUBLE PRECISION,
    timestamp TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_experiment_events PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_experiment_events_entity_type CHECK (entity_type IN ('Tenant', 'Project', 'Environment', 'Operator', 'OrgMember', 'Provider', 'AgentTemplate', 'AgentVersion', 'AgentInstance', 'AgentIdentity', 'PolicyEnvelope', 'ApprovalRecord', 'Deployment', 'Role', 'RoleAssignment', 'Permission', 'ChangeRecord', 'OpEvent', 'AuditLog', 'Task', 'Message', 'Run', 'ToolCall', 'ExecutionRequest', 'TaskDependency', 'Review', 'AgentPerformance', 'AgentPattern', 'AgentDocument', 'TelegraphThread', 'TelegraphMessage', 'Meeting', 'VoiceArtifact', 'Workflow', 'WorkflowRun', 'EvaluationSuite', 'EvaluationRun', 'EvaluationMetric', 'CustomScoringFunction', 'NotificationEvent', 'Notification', 'NotificationPreference', 'FeatureFlag', 'Experiment', 'ExperimentAssignment', 'ExperimentEvent', 'Alert', 'OperatorControl', 'SavedView', 'WatchSubscription', 'Webhook', 'WebhookDelivery', 'ThreadSubscription', 'OrgAssignment', 'Capture'))
);
CREATE INDEX ix_experiment_events_tenant_id_entity_type_entity_id_id ON experiment_events (tenant_id, entity_type, entity_id, id);
CREATE INDEX ix_experiment_events_tenant_id_event_type_id ON experiment_events (tenant_id, event_type, id);
CREATE INDEX ix_experiment_events_tenant_id_experiment_id_id ON experiment_events (tenant_id, experiment_id, id);
CREATE INDEX ix_experiment_events_tenant_id_experiment_id_variant_id_89c9 ON experiment_events (tenant_id, experiment_id, variant_id, event_type, id);
CREATE INDEX ix_experiment_events_tenant_id_timestamp_id ON experiment_events (tenant_id, timestamp, id);

CREATE TABLE alerts (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    severity TEXT NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    instance_id UUID,
    task_id UUID,
    run_id UUID,
    status TEXT DEFAULT 'OPEN' NOT NULL,
    acknowledged_by_operator_id UUID,
    acknowledged_at TIMESTAMP(3) WITH TIME ZONE,
    resolved_at TIMESTAMP(3) WITH TIME ZONE,
    resolution_note TEXT,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_alerts PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_alerts_severity CHECK (severity IN ('INFO', 'WARNING', 'ERROR', 'CRITICAL')),
    CONSTRAINT ck_alerts_status CHECK (status IN ('OPEN', 'ACKNOWLEDGED', 'RESOLVED', 'IGNORED'))
);
CREATE INDEX ix_alerts_tenant_id_acknowledged_by_operator_id_id ON alerts (tenant_id, acknowledged_by_operator_id, id);
CREATE INDEX ix_alerts_tenant_id_instance_id_id ON alerts (tenant_id, instance_id, id);
CREATE INDEX ix_alerts_tenant_id_project_id_id ON alerts (tenant_id, project_id, id);
CREATE INDEX ix_alerts_tenant_id_project_id_status_id ON alerts (tenant_id, project_id, status, id);
CREATE INDEX ix_alerts_tenant_id_run_id_id ON alerts (tenant_id, run_id, id);
CREATE INDEX ix_alerts_tenant_id_severity_id ON alerts (tenant_id, severity, id);
CREATE INDEX ix_alerts_tenant_id_status_severity_id ON alerts (tenant_id, status, severity, id);
CREATE INDEX ix_alerts_tenant_id_task_id_id ON alerts (tenant_id, task_id, id);
CREATE INDEX ix_alerts_tenant_id_type_status_id ON alerts (tenant_id, type, status, id);

CREATE TABLE operator_controls (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    mode TEXT NOT NULL,
    reason TEXT,
    updated_by_operator_id UUID,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_operator_controls PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_operator_controls_mode CHECK (mode IN ('NORMAL', 'DRAINING', 'PAUSED', 'QUARANTINED'))
);
CREATE INDEX ix_operator_controls_tenant_id_id ON operator_controls (tenant_id, id) WHERE project_id IS NULL;
CREATE INDEX ix_operator_controls_tenant_id_mode_id ON operator_controls (tenant_id, mode, id);
CREATE INDEX ix_operator_controls_tenant_id_project_id_id ON operator_controls (tenant_id, project_id, id);
CREATE INDEX ix_operator_controls_tenant_id_updated_at_id ON operator_controls (tenant_id, updated_at, id);
CREATE INDEX ix_operator_controls_tenant_id_updated_by_operator_id_id ON operator_controls (tenant_id, updated_by_operator_id, id);

CREATE TABLE saved_views (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID NOT NULL,
    owner_operator_id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT,
    scope TEXT NOT NULL,
    filters JSONB NOT NULL,
    is_shared BOOLEAN DEFAULT false NOT NULL,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_saved_views PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_saved_views_scope CHECK (scope IN ('KANBAN', 'APPROVALS', 'AGENTS', 'SEARCH', 'DIRECTORY', 'DEPLOYMENTS'))
);
CREATE INDEX ix_saved_views_tenant_id_is_shared_id ON saved_views (tenant_id, is_shared, id);
CREATE INDEX ix_saved_views_tenant_id_owner_operator_id_id ON saved_views (tenant_id, owner_operator_id, id);
CREATE INDEX ix_saved_views_tenant_id_project_id_scope_id ON saved_views (tenant_id, project_id, scope, id);
CREATE INDEX ix_saved_views_tenant_id_scope_id ON saved_views (tenant_id, scope, id);
CREATE INDEX ix_saved_views_tenant_id_updated_at_id ON saved_views (tenant_id, updated_at, id);

CREATE TABLE watch_subscriptions (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    operator_id UUID NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id UUID NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_watch_subscriptions PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_watch_subscriptions_entity_type CHECK (entity_type IN ('TASK', 'APPROVAL', 'INSTANCE', 'PROJECT', 'DEPLOYMENT'))
);
CREATE INDEX ix_watch_subscriptions_tenant_id_entity_type_entity_id_id ON watch_subscriptions (tenant_id, entity_type, entity_id, id);
CREATE UNIQUE INDEX ix_watch_subscriptions_tenant_id_operator_id_entity_typ_526e ON watch_subscriptions (tenant_id, operator_id, entity_type, entity_id);
CREATE INDEX ix_watch_subscriptions_tenant_id_operator_id_id ON watch_subscriptions (tenant_id, operator_id, id);
CREATE INDEX ix_watch_subscriptions_tenant_id_project_id_id ON watch_subscriptions (tenant_id, project_id, id);

CREATE TABLE webhooks (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    name TEXT COLLATE "C" NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    events TEXT[] NOT NULL,
    filters JSONB,
    active BOOLEAN DEFAULT true NOT NULL,
    delivery_count INTEGER DEFAULT 0 NOT NULL,
    failure_count INTEGER DEFAULT 0 NOT NULL,
    last_delivery_at TIMESTAMP(3) WITH TIME ZONE,
    last_failure_at TIMESTAMP(3) WITH TIME ZONE,
    created_by_operator_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_webhooks PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_webhooks_events ON webhooks USING gin (events);
CREATE INDEX ix_webhooks_tenant_id_active_id ON webhooks (tenant_id, active, id);
CREATE INDEX ix_webhooks_tenant_id_created_by_operator_id_id ON webhooks (tenant_id, created_by_operator_id, id);
CREATE INDEX ix_webhooks_tenant_id_name_id ON webhooks (tenant_id, name, id);
CREATE INDEX ix_webhooks_tenant_id_project_id_id ON webhooks (tenant_id, project_id, id);

CREATE TABLE webhook_deliveries (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    webhook_id UUID NOT NULL,
    project_id UUID,
    event TEXT COLLATE "C" NOT NULL,
    payload JSONB NOT NULL,
    url TEXT NOT NULL,
    status TEXT DEFAULT 'PENDING' NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    max_attempts INTEGER DEFAULT 3 NOT NULL,
    next_retry_at TIMESTAMP(3) WITH TIME ZONE,
    response_status INTEGER,
    response_body TEXT,
    error TEXT,
    delivered_at TIMESTAMP(3) WITH TIME ZONE,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_webhook_deliveries PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_webhook_deliveries_status CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED', 'RETRYING'))
);
CREATE INDEX ix_webhook_deliveries_tenant_id_delivered_at_id ON webhook_deliveries (tenant_id, delivered_at, id);
CREATE INDEX ix_webhook_deliveries_tenant_id_event_id ON webhook_deliveries (tenant_id, event, id);
CREATE INDEX ix_webhook_deliveries_tenant_id_next_retry_at_id ON webhook_deliveries (tenant_id, next_retry_at, id) WHERE status IN ('PENDING', 'RETRYING');
CREATE INDEX ix_webhook_deliveries_tenant_id_project_id_id ON webhook_deliveries (tenant_id, project_id, id);
CREATE INDEX ix_webhook_deliveries_tenant_id_status_id ON webhook_deliveries (tenant_id, status, id);
CREATE INDEX ix_webhook_deliveries_tenant_id_webhook_id_id ON webhook_deliveries (tenant_id, webhook_id, id);
CREATE INDEX ix_webhook_deliveries_tenant_id_webhook_id_status_id ON webhook_deliveries (tenant_id, webhook_id, status, id);

CREATE TABLE thread_subscriptions (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    instance_id UUID NOT NULL,
    task_id UUID NOT NULL,
    subscribed_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_thread_subscriptions PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_thread_subscriptions_tenant_id_instance_id_id ON thread_subscriptions (tenant_id, instance_id, id);
CREATE UNIQUE INDEX ix_thread_subscriptions_tenant_id_instance_id_task_id ON thread_subscriptions (tenant_id, instance_id, task_id);
CREATE INDEX ix_thread_subscriptions_tenant_id_project_id_id ON thread_subscriptions (tenant_id, project_id, id);
CREATE INDEX ix_thread_subscriptions_tenant_id_task_id_id ON thread_subscriptions (tenant_id, task_id, id);

CREATE TABLE org_assignments (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    instance_id UUID NOT NULL,
    project_id UUID NOT NULL,
    org_position TEXT NOT NULL,
    scope TEXT DEFAULT 'PROJECT' NOT NULL,
    scope_ref TEXT COLLATE "C",
    assigned_by_operator_id UUID,
    assigned_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_org_assignments PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_org_assignments_org_position CHECK (org_position IN ('CEO', 'LEAD', 'SPECIALIST', 'INTERN')),
    CONSTRAINT ck_org_assignments_scope CHECK (scope IN ('PROJECT', 'SQUAD', 'REPO'))
);
CREATE INDEX ix_org_assignments_tenant_id_assigned_by_operator_id_id ON org_assignments (tenant_id, assigned_by_operator_id, id);
CREATE INDEX ix_org_assignments_tenant_id_instance_id_id ON org_assignments (tenant_id, instance_id, id);
CREATE UNIQUE INDEX ix_org_assignments_tenant_id_instance_id_project_id_org_2fb2 ON org_assignments (tenant_id, instance_id, project_id, org_position, scope_ref) NULLS NOT DISTINCT;
CREATE INDEX ix_org_assignments_tenant_id_org_position_id ON org_assignments (tenant_id, org_position, id);
CREATE UNIQUE INDEX ix_org_assignments_tenant_id_project_id ON org_assignments (tenant_id, project_id) WHERE org_position = 'CEO';
CREATE INDEX ix_org_assignments_tenant_id_project_id_org_position_id ON org_assignments (tenant_id, project_id, org_position, id);

CREATE TABLE captures (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    project_id UUID,
    task_id UUID,
    instance_id UUID,
    title TEXT NOT NULL,
    description TEXT,
    type TEXT NOT NULL,
    url TEXT,
    file_storage_id TEXT,
    thumbnail_url TEXT,
    width INTEGER,
    height INTEGER,
    file_size INTEGER,
    mime_type TEXT,
    tags TEXT[],
    captured_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_captures PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_captures_type CHECK (type IN ('SCREENSHOT', 'DIAGRAM', 'MOCKUP', 'CHART', 'VIDEO', 'OTHER'))
);
CREATE INDEX ix_captures_tags ON captures USING gin (tags);
CREATE INDEX ix_captures_tenant_id_captured_at_id ON captures (tenant_id, captured_at, id);
CREATE INDEX ix_captures_tenant_id_instance_id_id ON captures (tenant_id, instance_id, id);
CREATE INDEX ix_captures_tenant_id_project_id_id ON captures (tenant_id, project_id, id);
CREATE INDEX ix_captures_tenant_id_task_id_id ON captures (tenant_id, task_id, id);
CREATE INDEX ix_captures_tenant_id_type_captured_at_id ON captures (tenant_id, type, captured_at, id);

CREATE TABLE agent_templates (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT,
    intended_use TEXT,
    tags TEXT[],
    emoji TEXT,
    default_role TEXT COLLATE "C",
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_agent_templates PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_agent_templates_tags ON agent_templates USING gin (tags);
CREATE INDEX ix_agent_templates_tenant_id_default_role_id ON agent_templates (tenant_id, default_role, id);
CREATE INDEX ix_agent_templates_tenant_id_name_id ON agent_templates (tenant_id, name, id);

CREATE TABLE agent_template_owners (
    tenant_id UUID NOT NULL,
    template_id UUID NOT NULL,
    operator_id UUID NOT NULL,
    position INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_agent_template_owners PRIMARY KEY (tenant_id, template_id, operator_id)
);
CREATE INDEX ix_agent_template_owners_tenant_id_operator_id ON agent_template_owners (tenant_id, operator_id);

CREATE TABLE agent_versions (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    template_id UUID NOT NULL,
    genome JSONB NOT NULL,
    genome_hash TEXT COLLATE "C" NOT NULL,
    lifecycle_state TEXT DEFAULT 'DRAFT' NOT NULL,
    parent_version_id UUID,
    signatures JSONB,
    certifications JSONB,
    build_provenance JSONB,
    created_by_operator_id UUID,
    eval_status TEXT DEFAULT 'NOT_RUN' NOT NULL,
    version_label TEXT COLLATE "C",
    version_number INTEGER,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_agent_versions PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_agent_versions_genome_hash CHECK (genome_hash ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_agent_versions_lifecycle_state CHECK (lifecycle_state IN ('DRAFT', 'TESTING', 'CANDIDATE', 'APPROVED', 'DEPRECATED', 'RETIRED')),
    CONSTRAINT ck_agent_versions_eval_status CHECK (eval_status IN ('NOT_RUN', 'RUNNING', 'PASS', 'FAIL'))
);
CREATE INDEX ix_agent_versions_tenant_id_created_by_operator_id_id ON agent_versions (tenant_id, created_by_operator_id, id);
CREATE INDEX ix_agent_versions_tenant_id_eval_status_id ON agent_versions (tenant_id, eval_status, id);
CREATE INDEX ix_agent_versions_tenant_id_genome_hash_id ON agent_versions (tenant_id, genome_hash, id);
CREATE INDEX ix_agent_versions_tenant_id_lifecycle_state_id ON agent_versions (tenant_id, lifecycle_state, id);
CREATE INDEX ix_agent_versions_tenant_id_parent_version_id_id ON agent_versions (tenant_id, parent_version_id, id);
CREATE INDEX ix_agent_versions_tenant_id_template_id_id ON agent_versions (tenant_id, template_id, id);
CREATE UNIQUE INDEX ix_agent_versions_tenant_id_template_id_version_label ON agent_versions (tenant_id, template_id, version_label);
CREATE UNIQUE INDEX ix_agent_versions_tenant_id_template_id_version_number ON agent_versions (tenant_id, template_id, version_number);

CREATE TABLE agent_version_approvals (
    tenant_id UUID NOT NULL,
    version_id UUID NOT NULL,
    approval_id UUID NOT NULL,
    position INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_agent_version_approvals PRIMARY KEY (tenant_id, version_id, approval_id)
);
CREATE INDEX ix_agent_version_approvals_tenant_id_approval_id ON agent_version_approvals (tenant_id, approval_id);

CREATE TABLE agent_instances (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    version_id UUID NOT NULL,
    environment_id UUID NOT NULL,
    project_id UUID NOT NULL,
    provider_id UUID,
    deployment_id UUID,
    policy_envelope_id UUID,
    state TEXT DEFAULT 'PROVISIONING' NOT NULL,
    heartbeat_at TIMESTAMP(3) WITH TIME ZONE,
    cost_caps JSONB,
    runtime_meta JSONB,
    legacy_agent_id TEXT COLLATE "C",
    name TEXT COLLATE "C",
    activated_at TIMESTAMP(3) WITH TIME ZONE,
    retired_at TIMESTAMP(3) WITH TIME ZONE,
    spend_today NUMERIC(20, 10) DEFAULT 0 NOT NULL,
    spend_month NUMERIC(20, 10) DEFAULT 0 NOT NULL,
    spend_reset_at TIMESTAMP(3) WITH TIME ZONE,
    paused_by TEXT,
    pre_pause_state TEXT,
    error_streak INTEGER DEFAULT 0 NOT NULL,
    last_error TEXT,
    current_task_id UUID,
    parent_instance_id UUID,
    token_epoch INTEGER DEFAULT 0 NOT NULL,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_agent_instances PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_agent_instances_counters CHECK (spend_today >= 0 AND spend_month >= 0 AND error_streak >= 0 AND token_epoch >= 0),
    CONSTRAINT ck_agent_instances_state CHECK (state IN ('PROVISIONING', 'ACTIVE', 'PAUSED', 'READONLY', 'DRAINING', 'QUARANTINED', 'RETIRED')),
    CONSTRAINT ck_agent_instances_paused_by CHECK (paused_by IN ('OPERATOR', 'EMERGENCY', 'BUDGET', 'STALE', 'LOOP')),
    CONSTRAINT ck_agent_instances_pre_pause_state CHECK (pre_pause_state IN ('PROVISIONING', 'ACTIVE', 'PAUSED', 'READONLY', 'DRAINING', 'QUARANTINED', 'RETIRED'))
);
CREATE INDEX ix_agent_instances_tenant_id_current_task_id_id ON agent_instances (tenant_id, current_task_id, id);
CREATE INDEX ix_agent_instances_tenant_id_deployment_id_id ON agent_instances (tenant_id, deployment_id, id);
CREATE INDEX ix_agent_instances_tenant_id_environment_id_id ON agent_instances (tenant_id, environment_id, id);
CREATE INDEX ix_agent_instances_tenant_id_heartbeat_at_id ON agent_instances (tenant_id, heartbeat_at, id);
CREATE UNIQUE INDEX ix_agent_instances_tenant_id_legacy_agent_id ON agent_instances (tenant_id, legacy_agent_id) WHERE legacy_agent_id IS NOT NULL;
CREATE INDEX ix_agent_instances_tenant_id_name_id ON agent_instances (tenant_id, name, id);
CREATE INDEX ix_agent_instances_tenant_id_parent_instance_id_id ON agent_instances (tenant_id, parent_instance_id, id);
CREATE INDEX ix_agent_instances_tenant_id_policy_envelope_id_id ON agent_instances (tenant_id, policy_envelope_id, id);
CREATE INDEX ix_agent_instances_tenant_id_project_id_id ON agent_instances (tenant_id, project_id, id);
CREATE INDEX ix_agent_instances_tenant_id_provider_id_id ON agent_instances (tenant_id, provider_id, id);
CREATE INDEX ix_agent_instances_tenant_id_state_id ON agent_instances (tenant_id, state, id);
CREATE INDEX ix_agent_instances_tenant_id_version_id_id ON agent_instances (tenant_id, version_id, id);

CREATE TABLE agent_identities (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    template_id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    creature TEXT,
    vibe TEXT,
    emoji TEXT,
    avatar_path TEXT,
    soul_content TEXT,
    soul_hash TEXT,
    compliance_status TEXT,
    validation_errors TEXT[],
    last_scan_at TIMESTAMP(3) WITH TIME ZONE,
    identity_content TEXT,
    tools_content TEXT,
    instance_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_agent_identities PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_agent_identities_compliance_status CHECK (compliance_status IN ('VALID', 'INVALID', 'MISSING', 'PARTIAL'))
);
CREATE INDEX ix_agent_identities_tenant_id_compliance_status_id ON agent_identities (tenant_id, compliance_status, id);
CREATE UNIQUE INDEX ix_agent_identities_tenant_id_instance_id ON agent_identities (tenant_id, instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX ix_agent_identities_tenant_id_instance_id_id ON agent_identities (tenant_id, instance_id, id);
CREATE INDEX ix_agent_identities_tenant_id_name_id ON agent_identities (tenant_id, name, id);
CREATE UNIQUE INDEX ix_agent_identities_tenant_id_template_id ON agent_identities (tenant_id, template_id) WHERE instance_id IS NULL;
CREATE INDEX ix_agent_identities_tenant_id_template_id_id ON agent_identities (tenant_id, template_id, id);

CREATE TABLE workflows (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    workflow_key TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT NOT NULL,
    agents JSONB NOT NULL,
    steps JSONB NOT NULL,
    active BOOLEAN DEFAULT true NOT NULL,
    version INTEGER DEFAULT 1 NOT NULL,
    created_by_operator_id UUID,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_workflows PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ix_workflows_tenant_id_active_id ON workflows (tenant_id, active, id);
CREATE INDEX ix_workflows_tenant_id_created_by_operator_id_id ON workflows (tenant_id, created_by_operator_id, id);
CREATE INDEX ix_workflows_tenant_id_name_id ON workflows (tenant_id, name, id);
CREATE UNIQUE INDEX ix_workflows_tenant_id_workflow_key ON workflows (tenant_id, workflow_key);

CREATE TABLE workflow_runs (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    run_key TEXT COLLATE "C" NOT NULL,
    workflow_id UUID NOT NULL,
    project_id UUID,
    parent_task_id UUID,
    status TEXT DEFAULT 'PENDING' NOT NULL,
    current_step_index INTEGER DEFAULT 0 NOT NULL,
    total_steps INTEGER NOT NULL,
    steps JSONB NOT NULL,
    context JSONB NOT NULL,
    initial_input TEXT NOT NULL,
    started_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    completed_at TIMESTAMP(3) WITH TIME ZONE,
    metadata JSONB,
    created_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP(3) WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_workflow_runs PRIMARY KEY (tenant_id, id),
    CONSTRAINT ck_workflow_runs_status CHECK (status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'PAUSED'))
);
CREATE INDEX ix_workflow_runs_tenant_id_parent_task_id_id ON workflow_runs (tenant_id, parent_task_id, id);
CREATE INDEX ix_workflow_runs_tenant_id_project_id_id ON workflow_runs (tenant_id, project_id, id);
CREATE UNIQUE INDEX ix_workflow_runs_tenant_id_run_key ON workflow_runs (tenant_id, run_key);
CREATE INDEX ix_workflow_runs_tenant_id_started_at_id ON workflow_runs (tenant_id, started_at, id);
CREATE INDEX ix_workflow_runs_tenant_id_status_id ON workflow_runs (tenant_id, status, id);
CREATE INDEX ix_workflow_runs_tenant_id_workflow_id_id ON workflow_runs (tenant_id, workflow_id, id);

ALTER TABLE gateway.tenant_counters ADD CONSTRAINT fk_tenant_counters_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;
ALTER TABLE gateway.idempotency_keys ADD CONSTRAINT fk_idempotency_keys_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;
ALTER TABLE gateway.legacy_ids ADD CONSTRAINT fk_legacy_ids_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;
ALTER TABLE gateway.retention_marks ADD CONSTRAINT fk_retention_marks_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;
ALTER TABLE change_records ADD CONSTRAINT fk_change_records_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE change_records ADD CONSTRAINT fk_change_records_tenant_id_caused_by_id FOREIGN KEY(tenant_id, caused_by_id) REFERENCES change_records (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE change_records ADD CONSTRAINT fk_change_records_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE change_records ADD CONSTRAINT fk_change_records_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE change_records ADD CONSTRAINT fk_change_records_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE audit_logs ADD CONSTRAINT fk_audit_logs_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE telegraph_threads ADD CONSTRAINT fk_telegraph_threads_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE telegraph_threads ADD CONSTRAINT fk_telegraph_threads_tenant_id_linked_approval_id FOREIGN KEY(tenant_id, linked_approval_id) REFERENCES approval_records (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE telegraph_threads ADD CONSTRAINT fk_telegraph_threads_tenant_id_linked_task_id FOREIGN KEY(tenant_id, linked_task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE telegraph_threads ADD CONSTRAINT fk_telegraph_threads_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE telegraph_messages ADD CONSTRAINT fk_telegraph_messages_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE telegraph_messages ADD CONSTRAINT fk_telegraph_messages_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE telegraph_messages ADD CONSTRAINT fk_telegraph_messages_tenant_id_reply_to_id FOREIGN KEY(tenant_id, reply_to_id) REFERENCES telegraph_messages (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE telegraph_messages ADD CONSTRAINT fk_telegraph_messages_tenant_id_sender_instance_id FOREIGN KEY(tenant_id, sender_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE telegraph_messages ADD CONSTRAINT fk_telegraph_messages_tenant_id_sender_operator_id FOREIGN KEY(tenant_id, sender_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE telegraph_messages ADD CONSTRAINT fk_telegraph_messages_tenant_id_thread_id FOREIGN KEY(tenant_id, thread_id) REFERENCES telegraph_threads (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE meetings ADD CONSTRAINT fk_meetings_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE meetings ADD CONSTRAINT fk_meetings_tenant_id_host_instance_id FOREIGN KEY(tenant_id, host_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE meetings ADD CONSTRAINT fk_meetings_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE voice_artifacts ADD CONSTRAINT fk_voice_artifacts_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE voice_artifacts ADD CONSTRAINT fk_voice_artifacts_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE voice_artifacts ADD CONSTRAINT fk_voice_artifacts_tenant_id_linked_meeting_id FOREIGN KEY(tenant_id, linked_meeting_id) REFERENCES meetings (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE voice_artifacts ADD CONSTRAINT fk_voice_artifacts_tenant_id_linked_message_id FOREIGN KEY(tenant_id, linked_message_id) REFERENCES telegraph_messages (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE voice_artifacts ADD CONSTRAINT fk_voice_artifacts_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE evaluation_suites ADD CONSTRAINT fk_evaluation_suites_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE evaluation_suites ADD CONSTRAINT fk_evaluation_suites_tenant_id_created_by_operator_id FOREIGN KEY(tenant_id, created_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE evaluation_suites ADD CONSTRAINT fk_evaluation_suites_tenant_id_template_id FOREIGN KEY(tenant_id, template_id) REFERENCES agent_templates (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE evaluation_runs ADD CONSTRAINT fk_evaluation_runs_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE evaluation_runs ADD CONSTRAINT fk_evaluation_runs_tenant_id_suite_id FOREIGN KEY(tenant_id, suite_id) REFERENCES evaluation_suites (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE evaluation_runs ADD CONSTRAINT fk_evaluation_runs_tenant_id_triggered_by_operator_id FOREIGN KEY(tenant_id, triggered_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE evaluation_runs ADD CONSTRAINT fk_evaluation_runs_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE evaluation_metrics ADD CONSTRAINT fk_evaluation_metrics_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE evaluation_metrics ADD CONSTRAINT fk_evaluation_metrics_tenant_id_evaluation_run_id FOREIGN KEY(tenant_id, evaluation_run_id) REFERENCES evaluation_runs (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE evaluation_metrics ADD CONSTRAINT fk_evaluation_metrics_tenant_id_suite_id FOREIGN KEY(tenant_id, suite_id) REFERENCES evaluation_suites (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE evaluation_metrics ADD CONSTRAINT fk_evaluation_metrics_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE custom_scoring_functions ADD CONSTRAINT fk_custom_scoring_functions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE custom_scoring_functions ADD CONSTRAINT fk_custom_scoring_functions_tenant_id_created_by_operator_id FOREIGN KEY(tenant_id, created_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tasks ADD CONSTRAINT fk_tasks_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE tasks ADD CONSTRAINT fk_tasks_tenant_id_creator_instance_id FOREIGN KEY(tenant_id, creator_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tasks ADD CONSTRAINT fk_tasks_tenant_id_creator_operator_id FOREIGN KEY(tenant_id, creator_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tasks ADD CONSTRAINT fk_tasks_tenant_id_parent_task_id FOREIGN KEY(tenant_id, parent_task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tasks ADD CONSTRAINT fk_tasks_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tasks ADD CONSTRAINT fk_tasks_tenant_id_reviewer_instance_id FOREIGN KEY(tenant_id, reviewer_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE task_assignees ADD CONSTRAINT fk_task_assignees_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE task_assignees ADD CONSTRAINT fk_task_assignees_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE task_assignees ADD CONSTRAINT fk_task_assignees_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE messages ADD CONSTRAINT fk_messages_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE messages ADD CONSTRAINT fk_messages_tenant_id_author_instance_id FOREIGN KEY(tenant_id, author_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE messages ADD CONSTRAINT fk_messages_tenant_id_author_operator_id FOREIGN KEY(tenant_id, author_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE messages ADD CONSTRAINT fk_messages_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE messages ADD CONSTRAINT fk_messages_tenant_id_reply_to_id FOREIGN KEY(tenant_id, reply_to_id) REFERENCES messages (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE messages ADD CONSTRAINT fk_messages_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE runs ADD CONSTRAINT fk_runs_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE runs ADD CONSTRAINT fk_runs_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE runs ADD CONSTRAINT fk_runs_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE runs ADD CONSTRAINT fk_runs_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE runs ADD CONSTRAINT fk_runs_tenant_id_template_id FOREIGN KEY(tenant_id, template_id) REFERENCES agent_templates (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE runs ADD CONSTRAINT fk_runs_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tool_calls ADD CONSTRAINT fk_tool_calls_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE tool_calls ADD CONSTRAINT fk_tool_calls_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tool_calls ADD CONSTRAINT fk_tool_calls_tenant_id_policy_envelope_id FOREIGN KEY(tenant_id, policy_envelope_id) REFERENCES policy_envelopes (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tool_calls ADD CONSTRAINT fk_tool_calls_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tool_calls ADD CONSTRAINT fk_tool_calls_tenant_id_run_id FOREIGN KEY(tenant_id, run_id) REFERENCES runs (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tool_calls ADD CONSTRAINT fk_tool_calls_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE tool_calls ADD CONSTRAINT fk_tool_calls_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE execution_requests ADD CONSTRAINT fk_execution_requests_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE execution_requests ADD CONSTRAINT fk_execution_requests_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE execution_requests ADD CONSTRAINT fk_execution_requests_tenant_id_requested_by_instance_id FOREIGN KEY(tenant_id, requested_by_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE execution_requests ADD CONSTRAINT fk_execution_requests_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE task_dependencies ADD CONSTRAINT fk_task_dependencies_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE task_dependencies ADD CONSTRAINT fk_task_dependencies_tenant_id_depends_on_task_id FOREIGN KEY(tenant_id, depends_on_task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE task_dependencies ADD CONSTRAINT fk_task_dependencies_tenant_id_parent_task_id FOREIGN KEY(tenant_id, parent_task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE task_dependencies ADD CONSTRAINT fk_task_dependencies_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE reviews ADD CONSTRAINT fk_reviews_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE reviews ADD CONSTRAINT fk_reviews_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE reviews ADD CONSTRAINT fk_reviews_tenant_id_response_by_instance_id FOREIGN KEY(tenant_id, response_by_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE reviews ADD CONSTRAINT fk_reviews_tenant_id_response_by_operator_id FOREIGN KEY(tenant_id, response_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE reviews ADD CONSTRAINT fk_reviews_tenant_id_reviewer_instance_id FOREIGN KEY(tenant_id, reviewer_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE reviews ADD CONSTRAINT fk_reviews_tenant_id_reviewer_operator_id FOREIGN KEY(tenant_id, reviewer_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE reviews ADD CONSTRAINT fk_reviews_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE policy_envelopes ADD CONSTRAINT fk_policy_envelopes_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE policy_envelopes ADD CONSTRAINT fk_policy_envelopes_tenant_id_attached_to_project_id FOREIGN KEY(tenant_id, attached_to_project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE policy_envelopes ADD CONSTRAINT fk_policy_envelopes_tenant_id_attached_to_template_id FOREIGN KEY(tenant_id, attached_to_template_id) REFERENCES agent_templates (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE policy_envelopes ADD CONSTRAINT fk_policy_envelopes_tenant_id_attached_to_version_id FOREIGN KEY(tenant_id, attached_to_version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE policy_envelopes ADD CONSTRAINT fk_policy_envelopes_tenant_id_created_by_operator_id FOREIGN KEY(tenant_id, created_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id_decided_by_operator_id FOREIGN KEY(tenant_id, decided_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id_escalated_by_operator_id FOREIGN KEY(tenant_id, escalated_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id_policy_envelope_id FOREIGN KEY(tenant_id, policy_envelope_id) REFERENCES policy_envelopes (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id_requester_id FOREIGN KEY(tenant_id, requester_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id_requester_instance_id FOREIGN KEY(tenant_id, requester_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id_tool_call_id FOREIGN KEY(tenant_id, tool_call_id) REFERENCES tool_calls (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE approval_records ADD CONSTRAINT fk_approval_records_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE deployments ADD CONSTRAINT fk_deployments_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE deployments ADD CONSTRAINT fk_deployments_tenant_id_approved_by_operator_id FOREIGN KEY(tenant_id, approved_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE deployments ADD CONSTRAINT fk_deployments_tenant_id_created_by_operator_id FOREIGN KEY(tenant_id, created_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE deployments ADD CONSTRAINT fk_deployments_tenant_id_environment_id FOREIGN KEY(tenant_id, environment_id) REFERENCES environments (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE deployments ADD CONSTRAINT fk_deployments_tenant_id_previous_version_id FOREIGN KEY(tenant_id, previous_version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE deployments ADD CONSTRAINT fk_deployments_tenant_id_target_version_id FOREIGN KEY(tenant_id, target_version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE deployments ADD CONSTRAINT fk_deployments_tenant_id_template_id FOREIGN KEY(tenant_id, template_id) REFERENCES agent_templates (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE roles ADD CONSTRAINT fk_roles_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE role_assignments ADD CONSTRAINT fk_role_assignments_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE role_assignments ADD CONSTRAINT fk_role_assignments_tenant_id_assigned_by_operator_id FOREIGN KEY(tenant_id, assigned_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE role_assignments ADD CONSTRAINT fk_role_assignments_tenant_id_environment_id FOREIGN KEY(tenant_id, environment_id) REFERENCES environments (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE role_assignments ADD CONSTRAINT fk_role_assignments_tenant_id_operator_id FOREIGN KEY(tenant_id, operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE role_assignments ADD CONSTRAINT fk_role_assignments_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE role_assignments ADD CONSTRAINT fk_role_assignments_tenant_id_role_id FOREIGN KEY(tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE permissions ADD CONSTRAINT fk_permissions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE projects ADD CONSTRAINT fk_projects_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE projects ADD CONSTRAINT fk_projects_tenant_id_default_environment_id FOREIGN KEY(tenant_id, default_environment_id) REFERENCES environments (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE environments ADD CONSTRAINT fk_environments_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE operators ADD CONSTRAINT fk_operators_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE org_members ADD CONSTRAINT fk_org_members_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE org_members ADD CONSTRAINT fk_org_members_tenant_id_parent_member_id FOREIGN KEY(tenant_id, parent_member_id) REFERENCES org_members (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE org_members ADD CONSTRAINT fk_org_members_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE providers ADD CONSTRAINT fk_providers_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_performance ADD CONSTRAINT fk_agent_performance_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_performance ADD CONSTRAINT fk_agent_performance_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_performance ADD CONSTRAINT fk_agent_performance_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_performance ADD CONSTRAINT fk_agent_performance_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_patterns ADD CONSTRAINT fk_agent_patterns_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_patterns ADD CONSTRAINT fk_agent_patterns_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_patterns ADD CONSTRAINT fk_agent_patterns_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_patterns ADD CONSTRAINT fk_agent_patterns_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_documents ADD CONSTRAINT fk_agent_documents_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_documents ADD CONSTRAINT fk_agent_documents_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_documents ADD CONSTRAINT fk_agent_documents_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notification_events ADD CONSTRAINT fk_notification_events_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id_approval_record_id FOREIGN KEY(tenant_id, approval_record_id) REFERENCES approval_records (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id_deployment_id FOREIGN KEY(tenant_id, deployment_id) REFERENCES deployments (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id_event_id FOREIGN KEY(tenant_id, event_id) REFERENCES notification_events (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id_from_instance_id FOREIGN KEY(tenant_id, from_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id_from_operator_id FOREIGN KEY(tenant_id, from_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id_message_id FOREIGN KEY(tenant_id, message_id) REFERENCES messages (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id_operator_id FOREIGN KEY(tenant_id, operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notifications ADD CONSTRAINT fk_notifications_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE notification_preferences ADD CONSTRAINT fk_notification_preferences_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE notification_preferences ADD CONSTRAINT fk_notification_preferences_tenant_id_operator_id FOREIGN KEY(tenant_id, operator_id) REFERENCES operators (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE feature_flags ADD CONSTRAINT fk_feature_flags_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE experiments ADD CONSTRAINT fk_experiments_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE experiment_assignments ADD CONSTRAINT fk_experiment_assignments_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE experiment_assignments ADD CONSTRAINT fk_experiment_assignments_tenant_id_experiment_id FOREIGN KEY(tenant_id, experiment_id) REFERENCES experiments (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE experiment_events ADD CONSTRAINT fk_experiment_events_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE experiment_events ADD CONSTRAINT fk_experiment_events_tenant_id_experiment_id FOREIGN KEY(tenant_id, experiment_id) REFERENCES experiments (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE alerts ADD CONSTRAINT fk_alerts_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE alerts ADD CONSTRAINT fk_alerts_tenant_id_acknowledged_by_operator_id FOREIGN KEY(tenant_id, acknowledged_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE alerts ADD CONSTRAINT fk_alerts_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE alerts ADD CONSTRAINT fk_alerts_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE alerts ADD CONSTRAINT fk_alerts_tenant_id_run_id FOREIGN KEY(tenant_id, run_id) REFERENCES runs (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE alerts ADD CONSTRAINT fk_alerts_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE operator_controls ADD CONSTRAINT fk_operator_controls_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE operator_controls ADD CONSTRAINT fk_operator_controls_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE operator_controls ADD CONSTRAINT fk_operator_controls_tenant_id_updated_by_operator_id FOREIGN KEY(tenant_id, updated_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE saved_views ADD CONSTRAINT fk_saved_views_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE saved_views ADD CONSTRAINT fk_saved_views_tenant_id_owner_operator_id FOREIGN KEY(tenant_id, owner_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE saved_views ADD CONSTRAINT fk_saved_views_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE watch_subscriptions ADD CONSTRAINT fk_watch_subscriptions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE watch_subscriptions ADD CONSTRAINT fk_watch_subscriptions_tenant_id_operator_id FOREIGN KEY(tenant_id, operator_id) REFERENCES operators (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE watch_subscriptions ADD CONSTRAINT fk_watch_subscriptions_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE webhooks ADD CONSTRAINT fk_webhooks_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE webhooks ADD CONSTRAINT fk_webhooks_tenant_id_created_by_operator_id FOREIGN KEY(tenant_id, created_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE webhooks ADD CONSTRAINT fk_webhooks_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE webhook_deliveries ADD CONSTRAINT fk_webhook_deliveries_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE webhook_deliveries ADD CONSTRAINT fk_webhook_deliveries_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE webhook_deliveries ADD CONSTRAINT fk_webhook_deliveries_tenant_id_webhook_id FOREIGN KEY(tenant_id, webhook_id) REFERENCES webhooks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE thread_subscriptions ADD CONSTRAINT fk_thread_subscriptions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE thread_subscriptions ADD CONSTRAINT fk_thread_subscriptions_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE thread_subscriptions ADD CONSTRAINT fk_thread_subscriptions_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE thread_subscriptions ADD CONSTRAINT fk_thread_subscriptions_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE org_assignments ADD CONSTRAINT fk_org_assignments_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE org_assignments ADD CONSTRAINT fk_org_assignments_tenant_id_assigned_by_operator_id FOREIGN KEY(tenant_id, assigned_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE org_assignments ADD CONSTRAINT fk_org_assignments_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE org_assignments ADD CONSTRAINT fk_org_assignments_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE captures ADD CONSTRAINT fk_captures_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE captures ADD CONSTRAINT fk_captures_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE captures ADD CONSTRAINT fk_captures_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE captures ADD CONSTRAINT fk_captures_tenant_id_task_id FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_templates ADD CONSTRAINT fk_agent_templates_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_template_owners ADD CONSTRAINT fk_agent_template_owners_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_template_owners ADD CONSTRAINT fk_agent_template_owners_tenant_id_operator_id FOREIGN KEY(tenant_id, operator_id) REFERENCES operators (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE agent_template_owners ADD CONSTRAINT fk_agent_template_owners_tenant_id_template_id FOREIGN KEY(tenant_id, template_id) REFERENCES agent_templates (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE agent_versions ADD CONSTRAINT fk_agent_versions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_versions ADD CONSTRAINT fk_agent_versions_tenant_id_created_by_operator_id FOREIGN KEY(tenant_id, created_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_versions ADD CONSTRAINT fk_agent_versions_tenant_id_parent_version_id FOREIGN KEY(tenant_id, parent_version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_versions ADD CONSTRAINT fk_agent_versions_tenant_id_template_id FOREIGN KEY(tenant_id, template_id) REFERENCES agent_templates (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_version_approvals ADD CONSTRAINT fk_agent_version_approvals_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_version_approvals ADD CONSTRAINT fk_agent_version_approvals_tenant_id_approval_id FOREIGN KEY(tenant_id, approval_id) REFERENCES approval_records (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE agent_version_approvals ADD CONSTRAINT fk_agent_version_approvals_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE agent_instances ADD CONSTRAINT fk_agent_instances_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_instances ADD CONSTRAINT fk_agent_instances_tenant_id_current_task_id FOREIGN KEY(tenant_id, current_task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_instances ADD CONSTRAINT fk_agent_instances_tenant_id_deployment_id FOREIGN KEY(tenant_id, deployment_id) REFERENCES deployments (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_instances ADD CONSTRAINT fk_agent_instances_tenant_id_environment_id FOREIGN KEY(tenant_id, environment_id) REFERENCES environments (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_instances ADD CONSTRAINT fk_agent_instances_tenant_id_parent_instance_id FOREIGN KEY(tenant_id, parent_instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_instances ADD CONSTRAINT fk_agent_instances_tenant_id_policy_envelope_id FOREIGN KEY(tenant_id, policy_envelope_id) REFERENCES policy_envelopes (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_instances ADD CONSTRAINT fk_agent_instances_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_instances ADD CONSTRAINT fk_agent_instances_tenant_id_provider_id FOREIGN KEY(tenant_id, provider_id) REFERENCES providers (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_instances ADD CONSTRAINT fk_agent_instances_tenant_id_version_id FOREIGN KEY(tenant_id, version_id) REFERENCES agent_versions (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_identities ADD CONSTRAINT fk_agent_identities_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE agent_identities ADD CONSTRAINT fk_agent_identities_tenant_id_instance_id FOREIGN KEY(tenant_id, instance_id) REFERENCES agent_instances (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE agent_identities ADD CONSTRAINT fk_agent_identities_tenant_id_template_id FOREIGN KEY(tenant_id, template_id) REFERENCES agent_templates (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE workflows ADD CONSTRAINT fk_workflows_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE workflows ADD CONSTRAINT fk_workflows_tenant_id_created_by_operator_id FOREIGN KEY(tenant_id, created_by_operator_id) REFERENCES operators (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE workflow_runs ADD CONSTRAINT fk_workflow_runs_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE RESTRICT;
ALTER TABLE workflow_runs ADD CONSTRAINT fk_workflow_runs_tenant_id_parent_task_id FOREIGN KEY(tenant_id, parent_task_id) REFERENCES tasks (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE workflow_runs ADD CONSTRAINT fk_workflow_runs_tenant_id_project_id FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE RESTRICT;
ALTER TABLE workflow_runs ADD CONSTRAINT fk_workflow_runs_tenant_id_workflow_id FOREIGN KEY(tenant_id, workflow_id) REFERENCES workflows (tenant_id, id) ON DELETE RESTRICT;
