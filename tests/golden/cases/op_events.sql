SELECT count(*) AS count_1
FROM op_events
WHERE op_events.tenant_id = $1::UUID
AND op_events.id < $2::UUID
AND op_events.id >= $3::UUID
AND op_events.type = $4::VARCHAR;

SELECT op_events.*
FROM op_events
WHERE op_events.tenant_id = $1::UUID
AND op_events.id < $2::UUID
AND op_events.id >= $3::UUID
AND op_events.type = $4::VARCHAR
ORDER BY op_events.id ASC
LIMIT 6;

SELECT agent_instances.*
FROM agent_instances
WHERE agent_instances.tenant_id = $1::UUID
AND agent_instances.id = any($2::UUID[]);

SELECT change_records.*
FROM change_records
WHERE change_records.tenant_id = $1::UUID
AND change_records.id = any($2::UUID[]);

SELECT agent_versions.*
FROM agent_versions
WHERE agent_versions.tenant_id = $1::UUID
AND agent_versions.id = any($2::UUID[]);
