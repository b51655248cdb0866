SELECT agent_versions.*
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.lifecycle_state = $2::VARCHAR
ORDER BY agent_versions.id ASC
LIMIT 3;

SELECT change_records.target_id, count(*) AS count_1
FROM change_records
WHERE change_records.tenant_id = $1::UUID
AND change_records.target_id = any($2::UUID[])
AND change_records.target_entity = $3::VARCHAR
GROUP BY change_records.target_id;

SELECT parents.key, child.*
FROM (SELECT unnest($1::UUID[]) AS key) AS parents
JOIN LATERAL (SELECT change_records.*
FROM change_records
WHERE change_records.tenant_id = $2::UUID
AND change_records.target_id = parents.key
AND change_records.target_entity = $3::VARCHAR
ORDER BY change_records.id ASC
LIMIT 4) AS child ON true;

SELECT operators.*
FROM operators
WHERE operators.tenant_id = $1::UUID
AND operators.id = any($2::UUID[]);
