SELECT count(*) AS count_1
FROM approval_records
WHERE approval_records.tenant_id = $1::UUID
AND approval_records.status = ANY ($2::TEXT[]);

SELECT approval_records.*
FROM approval_records
WHERE approval_records.tenant_id = $1::UUID
AND approval_records.status = ANY ($2::TEXT[])
ORDER BY approval_records.id ASC
LIMIT 51;

SELECT agent_instances.*
FROM agent_instances
WHERE agent_instances.tenant_id = $1::UUID
AND agent_instances.id = any($2::UUID[]);

SELECT policy_envelopes.*
FROM policy_envelopes
WHERE policy_envelopes.tenant_id = $1::UUID
AND policy_envelopes.id = any($2::UUID[]);

SELECT tool_calls.*
FROM tool_calls
WHERE tool_calls.tenant_id = $1::UUID
AND tool_calls.id = any($2::UUID[]);

SELECT operators.*
FROM operators
WHERE operators.tenant_id = $1::UUID
AND operators.id = any($2::UUID[]);

SELECT agent_versions.*
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.id = any($2::UUID[]);

SELECT workflow_runs.*
FROM workflow_runs
WHERE workflow_runs.tenant_id = $1::UUID
AND workflow_runs.id = any($2::UUID[]);

SELECT agent_versions.*
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.id = any($2::UUID[]);

SELECT agent_templates.*
FROM agent_templates
WHERE agent_templates.tenant_id = $1::UUID
AND agent_templates.id = any($2::UUID[]);
