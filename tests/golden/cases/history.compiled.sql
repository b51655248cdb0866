SELECT uuid_send(agent_versions.id) AS c0, agent_versions.version_label AS c1
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.lifecycle_state = $2::VARCHAR
ORDER BY agent_versions.id ASC
LIMIT 3;

SELECT parents.key, child.*
FROM (SELECT unnest($1::UUID[]) AS key) AS parents
JOIN LATERAL (SELECT uuid_send(change_records.id) AS c0, change_records.*, uuid_send(change_records.actor_id) AS c5, CAST(change_records.before_state AS TEXT) AS c6, CAST(change_records.after_state AS TEXT) AS c7
FROM change_records
WHERE change_records.tenant_id = $2::UUID
AND change_records.target_id = parents.key
AND change_records.target_entity = $3::VARCHAR
ORDER BY change_records.id ASC
LIMIT 4) AS child ON true;

SELECT change_records.target_id, count(*) AS count_1
FROM change_records
WHERE change_records.tenant_id = $1::UUID
AND change_records.target_id = any($2::UUID[])
AND change_records.target_entity = $3::VARCHAR
GROUP BY change_records.target_id;

SELECT uuid_send(operators.id) AS c0, operators.name AS c1
FROM operators
WHERE operators.tenant_id = $1::UUID
AND operators.id = $2::UUID;
