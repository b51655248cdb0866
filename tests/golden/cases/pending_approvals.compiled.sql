SELECT uuid_send(approval_records.id) AS c0, approval_records.action_summary AS c1, approval_records.risk_level AS c2, uuid_send(j0.id) AS c3, j0.name AS c4, uuid_send(j1.id) AS c5, j1.name AS c6, uuid_send(j2.id) AS c7, j2.version_label AS c8, uuid_send(j3.id) AS c9, j3.name AS c10, uuid_send(j4.id) AS c11, j4.name AS c12, j4.autonomy_tier AS c13, approval_records.target_entity AS c14, uuid_send(approval_records.target_id) AS c15
FROM approval_records LEFT OUTER
JOIN operators AS j0 ON j0.tenant_id = $1::UUID
AND j0.id = approval_records.requester_id LEFT OUTER
JOIN agent_instances AS j1 ON j1.tenant_id = $1::UUID
AND j1.id = approval_records.requester_instance_id LEFT OUTER
JOIN agent_versions AS j2 ON j2.tenant_id = $1::UUID
AND j2.id = j1.version_id LEFT OUTER
JOIN agent_templates AS j3 ON j3.tenant_id = $1::UUID
AND j3.id = j2.template_id LEFT OUTER
JOIN policy_envelopes AS j4 ON j4.tenant_id = $1::UUID
AND j4.id = approval_records.policy_envelope_id
WHERE approval_records.tenant_id = $1::UUID
AND approval_records.status = ANY ($2::TEXT[])
ORDER BY approval_records.id ASC
LIMIT 51;

SELECT count(*) AS count_1
FROM approval_records
WHERE approval_records.tenant_id = $1::UUID
AND approval_records.status = ANY ($2::TEXT[]);

SELECT uuid_send(tool_calls.id) AS c0, tool_calls.tool_name AS c1
FROM tool_calls
WHERE tool_calls.tenant_id = $1::UUID
AND tool_calls.id = any($2::UUID[]);

SELECT uuid_send(agent_instances.id) AS c0
FROM agent_instances
WHERE agent_instances.tenant_id = $1::UUID
AND agent_instances.id = any($2::UUID[]);

SELECT uuid_send(agent_versions.id) AS c0, agent_versions.version_label AS c1
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.id = $2::UUID;

SELECT uuid_send(workflow_runs.id) AS c0
FROM workflow_runs
WHERE workflow_runs.tenant_id = $1::UUID
AND workflow_runs.id = $2::UUID;
