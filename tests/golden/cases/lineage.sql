SELECT agent_instances.*
FROM agent_instances
WHERE agent_instances.tenant_id = $1::UUID
ORDER BY agent_instances.id ASC
LIMIT 21;

SELECT parents.key, child.*
FROM (SELECT unnest($1::UUID[]) AS key) AS parents
JOIN LATERAL (SELECT tasks.*
FROM tasks
JOIN task_assignees ON task_assignees.tenant_id = tasks.tenant_id
AND task_assignees.task_id = tasks.id
WHERE tasks.tenant_id = $2::UUID
AND task_assignees.tenant_id = $3::UUID
AND task_assignees.instance_id = parents.key
ORDER BY tasks.id ASC
LIMIT 6) AS child ON true;

SELECT parents.key, child.*
FROM (SELECT unnest($1::UUID[]) AS key) AS parents
JOIN LATERAL (SELECT runs.*
FROM runs
WHERE runs.tenant_id = $2::UUID
AND runs.task_id = parents.key
ORDER BY runs.id ASC
LIMIT 6) AS child ON true;

SELECT agent_versions.*
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.id = any($2::UUID[]);

SELECT agent_templates.*
FROM agent_templates
WHERE agent_templates.tenant_id = $1::UUID
AND agent_templates.id = any($2::UUID[]);
