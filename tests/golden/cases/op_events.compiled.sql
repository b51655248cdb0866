SELECT uuid_send(op_events.id) AS c0, op_events.seq AS c1, op_events.type AS c2, timestamptz_send(op_events.timestamp) AS c3, uuid_send(j0.id) AS c4, j0.name AS c5, uuid_send(j1.id) AS c6, j1.version_label AS c7, uuid_send(j2.id) AS c8, j2.type AS c9, j2.seq AS c10
FROM op_events LEFT OUTER
JOIN agent_instances AS j0 ON j0.tenant_id = $1::UUID
AND j0.id = op_events.instance_id LEFT OUTER
JOIN agent_versions AS j1 ON j1.tenant_id = $1::UUID
AND j1.id = j0.version_id LEFT OUTER
JOIN change_records AS j2 ON j2.tenant_id = $1::UUID
AND j2.id = op_events.change_record_id
WHERE op_events.tenant_id = $1::UUID
AND op_events.id < $2::UUID
AND op_events.id >= $3::UUID
AND op_events.type = $4::VARCHAR
ORDER BY op_events.id ASC
LIMIT 6;

SELECT count(*) AS count_1
FROM op_events
WHERE op_events.tenant_id = $1::UUID
AND op_events.id < $2::UUID
AND op_events.id >= $3::UUID
AND op_events.type = $4::VARCHAR;
