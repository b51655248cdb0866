SELECT uuid_send(agent_instances.id) AS c0, agent_instances.name AS c1, agent_instances.state AS c2
FROM agent_instances
WHERE agent_instances.tenant_id = $1::UUID
ORDER BY agent_instances.id ASC
LIMIT 21;

SELECT parents.key, child.c0, child.c1, child.c2
FROM (SELECT unnest($1::UUID[]) AS key) AS parents
JOIN LATERAL (SELECT uuid_send(tasks.id) AS c0, tasks.title AS c1, tasks.status AS c2
FROM tasks
JOIN task_assignees ON task_assignees.tenant_id = tasks.tenant_id
AND task_assignees.task_id = tasks.id
WHERE tasks.tenant_id = $2::UUID
AND task_assignees.tenant_id = $2::UUID
AND task_assignees.instance_id = parents.key
ORDER BY tasks.id ASC
LIMIT 6) AS child ON true;

SELECT parents.key, child.*
FROM (SELECT unnest($1::UUID[]) AS key) AS parents
JOIN LATERAL (SELECT uuid_send(runs.id) AS c0, runs.status AS c1, CAST(runs.cost_usd AS DOUBLE PRECISION) AS c2, uuid_send(runs.version_id) AS c3
FROM runs
WHERE runs.tenant_id = $2::UUID
AND runs.task_id = parents.key
ORDER BY runs.id ASC
LIMIT 6) AS child ON true;

SELECT uuid_send(agent_versions.id) AS c0, agent_versions.version_label AS c1, uuid_send(j0.id) AS c2, j0.name AS c3
FROM agent_versions LEFT OUTER
JOIN agent_templates AS j0 ON j0.tenant_id = $1::UUID
AND j0.id = agent_versions.template_id
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.id = any($2::UUID[]);
