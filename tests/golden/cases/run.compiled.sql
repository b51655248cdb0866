SELECT uuid_send(runs.id) AS c0, runs.status AS c1, CAST(runs.cost_usd AS DOUBLE PRECISION) AS c2, timestamptz_send(runs.started_at) AS c3, uuid_send(j0.id) AS c4, j0.name AS c5, uuid_send(j1.id) AS c6, j1.status AS c7, uuid_send(j2.id) AS c8, j2.name AS c9, j2.email AS c10, j2.id AS c11, uuid_send(j3.id) AS c12, j3.slug AS c13, uuid_send(j4.id) AS c14, j4.name AS c15, uuid_send(j5.id) AS c16, j5.version_label AS c17, j5.genome_hash AS c18, uuid_send(j6.id) AS c19, j6.name AS c20, uuid_send(j7.id) AS c21, j7.title AS c22
FROM runs LEFT OUTER
JOIN agent_instances AS j0 ON j0.tenant_id = $1::UUID
AND j0.id = runs.instance_id LEFT OUTER
JOIN deployments AS j1 ON j1.tenant_id = $1::UUID
AND j1.id = j0.deployment_id LEFT OUTER
JOIN operators AS j2 ON j2.tenant_id = $1::UUID
AND j2.id = j1.approved_by_operator_id LEFT OUTER
JOIN environments AS j3 ON j3.tenant_id = $1::UUID
AND j3.id = j1.environment_id LEFT OUTER
JOIN policy_envelopes AS j4 ON j4.tenant_id = $1::UUID
AND j4.id = j0.policy_envelope_id LEFT OUTER
JOIN agent_versions AS j5 ON j5.tenant_id = $1::UUID
AND j5.id = runs.version_id LEFT OUTER
JOIN agent_templates AS j6 ON j6.tenant_id = $1::UUID
AND j6.id = j5.template_id LEFT OUTER
JOIN tasks AS j7 ON j7.tenant_id = $1::UUID
AND j7.id = runs.task_id
WHERE runs.tenant_id = $1::UUID
AND runs.status = $2::VARCHAR
ORDER BY runs.id DESC
LIMIT 3;

SELECT count(*) AS count_1
FROM runs
WHERE runs.tenant_id = $1::UUID
AND runs.status = $2::VARCHAR;

SELECT agent_template_owners.template_id, operators.name AS c0
FROM agent_template_owners
JOIN operators ON operators.tenant_id = agent_template_owners.tenant_id
AND operators.id = agent_template_owners.operator_id
WHERE agent_template_owners.tenant_id = $1::UUID
AND operators.tenant_id = $1::UUID
AND agent_template_owners.template_id = $2::UUID
ORDER BY agent_template_owners.template_id, agent_template_owners.position, agent_template_owners.operator_id;

SELECT agent_version_approvals.version_id, approval_records.status AS c0
FROM agent_version_approvals
JOIN approval_records ON approval_records.tenant_id = agent_version_approvals.tenant_id
AND approval_records.id = agent_version_approvals.approval_id
WHERE agent_version_approvals.tenant_id = $1::UUID
AND approval_records.tenant_id = $1::UUID
AND agent_version_approvals.version_id = $2::UUID
ORDER BY agent_version_approvals.version_id, agent_version_approvals.position, agent_version_approvals.approval_id;

SELECT task_assignees.task_id, agent_instances.name AS c0
FROM task_assignees
JOIN agent_instances ON agent_instances.tenant_id = task_assignees.tenant_id
AND agent_instances.id = task_assignees.instance_id
WHERE task_assignees.tenant_id = $1::UUID
AND agent_instances.tenant_id = $1::UUID
AND task_assignees.task_id = any($2::UUID[])
ORDER BY task_assignees.task_id, task_assignees.position, task_assignees.instance_id;

SELECT parents.key, child.*
FROM (SELECT unnest($1::UUID[]) AS key) AS parents
JOIN LATERAL (SELECT uuid_send(tool_calls.id) AS c0, tool_calls.tool_name AS c1, tool_calls.risk_level AS c2, uuid_send(tool_calls.policy_envelope_id) AS c3
FROM tool_calls
WHERE tool_calls.tenant_id = $2::UUID
AND tool_calls.run_id = parents.key
ORDER BY tool_calls.id ASC
LIMIT 4) AS child ON true;

SELECT tool_calls.run_id, count(*) AS count_1
FROM tool_calls
WHERE tool_calls.tenant_id = $1::UUID
AND tool_calls.run_id = any($2::UUID[])
GROUP BY tool_calls.run_id;

SELECT uuid_send(policy_envelopes.id) AS c0, policy_envelopes.name AS c1, policy_envelopes.autonomy_tier AS c2
FROM policy_envelopes
WHERE policy_envelopes.tenant_id = $1::UUID
AND policy_envelopes.id = $2::UUID;
