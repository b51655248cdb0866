"""The op events of the regional work, a day a statement, numbered without holes."""

from __future__ import annotations

from typing import Final

from db.demo.bulk.expressions import drawn, milliseconds, uuid_of

_LINK: Final = "r.instance_id, r.version_id, r.project_id, r.task_id, r.id AS run_id"

# What a run says, what its calls say, and heartbeats for what is left. `kind` and `n` make the id.
EVENTS: Final = f"""
WITH done AS MATERIALIZED (
    SELECT r.*, substr(idempotency_key, 12)::bigint AS n FROM runs r
    WHERE tenant_id = :tenant AND idempotency_key LIKE 'region-run-%' AND started_at >= :since AND started_at < :until
), agents AS MATERIALIZED (
    SELECT (metadata ->> 'region')::int AS nth, i.* FROM agent_instances i
    WHERE tenant_id = :tenant AND metadata ? 'region'
), told AS (
    SELECT 'RUN_STARTED' AS type, r.started_at AS at, {_LINK}, NULL::uuid AS tool_call_id, NULL::uuid AS record_id,
        jsonb_build_object('model', r.model, 'sessionKey', r.session_key) AS payload, NULL::numeric AS usd, r.model,
        'event' || r.id AS key
    FROM done r
    UNION ALL
    SELECT 'RUN_STEP', r.started_at + {milliseconds("r.duration_ms / 10")}, {_LINK}, NULL, NULL,
        jsonb_build_object('index', 1, 'kind', 'plan', 'summary', 'Reads what there is.'), NULL, NULL, 'step' || r.id
    FROM done r WHERE {drawn("r.n", 71, 100)} < 85
    UNION ALL
    SELECT 'COST_TICK', r.ended_at, {_LINK}, NULL, NULL,
        jsonb_build_object('source', 'inference', 'deltaUsd', r.cost_usd, 'totalUsd', r.cost_usd,
            'inputTokens', r.input_tokens, 'outputTokens', r.output_tokens), r.cost_usd, r.model, 'tick' || r.id
    FROM done r
    UNION ALL
    SELECT CASE WHEN r.status = 'FAILED' THEN 'RUN_FAILED' ELSE 'RUN_COMPLETED' END, r.ended_at, {_LINK}, NULL, NULL,
        jsonb_build_object('status', r.status, 'costUsd', r.cost_usd, 'durationMs', r.duration_ms), NULL, NULL,
        'ended' || r.id
    FROM done r
    UNION ALL
    SELECT CASE WHEN c.status = 'DENIED' THEN 'TOOL_CALL_BLOCKED' ELSE 'TOOL_CALL_STARTED' END, c.started_at, {_LINK},
        c.id, h.id,
        c.policy_result || jsonb_build_object('toolName', c.tool_name, 'risk', c.risk_level), NULL, NULL, 'call' || c.id
    FROM done r JOIN tool_calls c ON c.tenant_id = r.tenant_id AND c.run_id = r.id
    LEFT JOIN change_records h
        ON c.status = 'DENIED' AND h.tenant_id = c.tenant_id AND h.target_entity = 'ToolCall' AND h.target_id = c.id
    UNION ALL
    SELECT 'TOOL_CALL_COMPLETED', c.ended_at, {_LINK}, c.id, NULL,
        jsonb_build_object('toolName', c.tool_name, 'risk', c.risk_level, 'status', c.status,
            'durationMs', c.duration_ms), NULL, NULL, 'back' || c.id
    FROM done r JOIN tool_calls c ON c.tenant_id = r.tenant_id AND c.run_id = r.id WHERE c.status <> 'DENIED'
    UNION ALL
    SELECT 'HEARTBEAT', date_trunc('milliseconds', CAST(:since AS timestamptz)
            + (CAST(:until AS timestamptz) - :since) * 0.97 * b / CAST(:beats AS float8)),
        a.id, a.version_id, a.project_id, NULL, NULL, NULL, NULL, jsonb_build_object('health', 'ok'), NULL, NULL,
        'beat' || CAST(:day AS int) || '-' || b
    FROM generate_series(0, CAST(:beats AS int) - 1) AS b
    JOIN agents a ON a.nth = {drawn("b", 72, ":agents")}
)
INSERT INTO op_events (
    tenant_id, id, type, timestamp, instance_id, version_id, project_id, task_id, run_id, tool_call_id,
    change_record_id, payload, delta_usd, model, event_id, seq, created_at
)
SELECT :tenant, {uuid_of("at", "", "key")}, type, at, instance_id, version_id, project_id, task_id, run_id,
    tool_call_id, record_id, payload, usd, CASE WHEN usd IS NOT NULL THEN model END, NULL,
    :base + row_number() OVER (ORDER BY at, key), at
FROM told
ORDER BY at, key
"""

COUNT: Final = f"""
SELECT (SELECT count(*) * 3 + count(*) FILTER (WHERE {drawn("substr(idempotency_key, 12)::bigint", 71, 100)} < 85)
        FROM runs WHERE tenant_id = :tenant AND idempotency_key LIKE 'region-run-%')
    + (SELECT count(*) * 2 - count(*) FILTER (WHERE c.status = 'DENIED')
        FROM tool_calls c JOIN runs r ON r.tenant_id = c.tenant_id AND r.id = c.run_id
        WHERE c.tenant_id = :tenant AND r.idempotency_key LIKE 'region-run-%')
"""
"""How many events the runs and their calls make, heartbeats aside."""
