SELECT count(*) AS count_1
FROM runs
WHERE runs.tenant_id = $1::UUID
AND runs.status = $2::VARCHAR;

SELECT runs.*
FROM runs
WHERE runs.tenant_id = $1::UUID
AND runs.status = $2::VARCHAR
ORDER BY runs.id DESC
LIMIT 3;

SELECT agent_instances.*
FROM agent_instances
WHERE agent_instances.tenant_id = $1::UUID
AND agent_instances.id = any($2::UUID[]);

SELECT agent_versions.*
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.id = any($2::UUID[]);

SELECT tasks.*
FROM tasks
WHERE tasks.tenant_id = $1::UUID
AND tasks.id = any($2::UUID[]);

SELECT tool_calls.run_id, count(*) AS count_1
FROM tool_calls
WHERE tool_calls.tenant_id = $1::UUID
AND tool_calls.run_id = any($2::UUID[])
GROUP BY tool_calls.run_id;

SELECT parents.key, child.*
FROM (SELECT unnest($1::UUID[]) AS key) AS parents
JOIN LATERAL (SELECT tool_calls.*
FROM tool_calls
WHERE tool_calls.tenant_id = $2::UUID
AND tool_calls.run_id = parents.key
ORDER BY tool_calls.id ASC
LIMIT 4) AS child ON true;

SELECT deployments.*
FROM deployments
WHERE deployments.tenant_id = $1::UUID
AND deployments.id = any($2::UUID[]);

SELECT policy_envelopes.*
FROM policy_envelopes
WHERE policy_envelopes.tenant_id = $1::UUID
AND policy_envelopes.id = any($2::UUID[]);

SELECT agent_templates.*
FROM agent_templates
WHERE agent_templates.tenant_id = $1::UUID
AND agent_templates.id = any($2::UUID[]);

SELECT agent_version_approvals.version_id, approval_records.*
FROM agent_version_approvals
JOIN approval_records ON approval_records.tenant_id = agent_version_approvals.tenant_id
AND approval_records.id = agent_version_approvals.approval_id
WHERE agent_version_approvals.tenant_id = $1::UUID
AND approval_records.tenant_id = $2::UUID
AND agent_version_approvals.version_id = any($3::UUID[])
ORDER BY agent_version_approvals.version_id, agent_version_approvals.position, agent_version_approvals.approval_id;

SELECT task_assignees.task_id, agent_instances.*
FROM task_assignees
JOIN agent_instances ON agent_instances.tenant_id = task_assignees.tenant_id
AND agent_instances.id = task_assignees.instance_id
WHERE task_assignees.tenant_id = $1::UUID
AND agent_instances.tenant_id = $2::UUID
AND task_assignees.task_id = any($3::UUID[])
ORDER BY task_assignees.task_id, task_assignees.position, task_assignees.instance_id;

SELECT operators.*
FROM operators
WHERE operators.tenant_id = $1::UUID
AND operators.id = any($2::UUID[]);

SELECT environments.*
FROM environments
WHERE environments.tenant_id = $1::UUID
AND environments.id = any($2::UUID[]);

SELECT agent_template_owners.template_id, operators.*
FROM agent_template_owners
JOIN operators ON operators.tenant_id = agent_template_owners.tenant_id
AND operators.id = agent_template_owners.operator_id
WHERE agent_template_owners.tenant_id = $1::UUID
AND operators.tenant_id = $2::UUID
AND agent_template_owners.template_id = any($3::UUID[])
ORDER BY agent_template_owners.template_id, agent_template_owners.position, agent_template_owners.operator_id;
