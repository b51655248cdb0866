SELECT count(*) AS count_1
FROM tasks
WHERE tasks.tenant_id = $1::UUID
AND tasks.project_id IN (SELECT projects.id
FROM projects
WHERE projects.tenant_id = $1::UUID
AND projects.slug >= $2::VARCHAR COLLATE "C"
AND projects.slug < concat($2::VARCHAR COLLATE "C", $3::VARCHAR))
AND (tasks.status = ANY ($4::TEXT[])) IS NOT true;

SELECT uuid_send(agent_instances.id) AS c0, agent_instances.name AS c1, agent_instances.state AS c2
FROM agent_instances
WHERE agent_instances.tenant_id = $1::UUID
AND (agent_instances.state = $2::VARCHAR OR agent_instances.version_id IN (SELECT agent_versions.id
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.template_id IN (SELECT agent_templates.id
FROM agent_templates
WHERE agent_templates.tenant_id = $1::UUID
AND agent_templates.name >= $3::VARCHAR COLLATE "C"
AND agent_templates.name < concat($3::VARCHAR COLLATE "C", $4::VARCHAR))))
ORDER BY agent_instances.name DESC, agent_instances.id DESC
LIMIT 51;

SELECT count(*) AS count_1
FROM agent_instances
WHERE agent_instances.tenant_id = $1::UUID
AND (agent_instances.state = $2::VARCHAR OR agent_instances.version_id IN (SELECT agent_versions.id
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.template_id IN (SELECT agent_templates.id
FROM agent_templates
WHERE agent_templates.tenant_id = $1::UUID
AND agent_templates.name >= $3::VARCHAR COLLATE "C"
AND agent_templates.name < concat($3::VARCHAR COLLATE "C", $4::VARCHAR))));

SELECT uuid_send(messages.id) AS c0, messages.type AS c1
FROM messages
WHERE messages.tenant_id = $1::UUID
AND messages.id >= $2::UUID
ORDER BY messages.id DESC
LIMIT 3;
