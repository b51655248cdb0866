"""The regional work as statements: tasks, their assignees, runs, tool calls and requests, each computed by number.

A task begins some minutes after it was made and is handed in three hours later; its runs lie in between. Parameters:
`tenant`, `operator`, `now` and `first` (the first moment of the work), counts, and JSON for what differs by crew.
"""

from __future__ import annotations

from typing import Final

from db.demo.bulk.expressions import drawn, milliseconds, one_of, uuid_of

_AGENTS: Final = """
    agents AS MATERIALIZED (
        SELECT (metadata ->> 'region')::int AS n, i.*, k.kind, k.tools, k.types, k.model, k.template_id, k.rate_in,
            k.rate_out
        FROM agent_instances i
        JOIN jsonb_to_recordset(CAST(:crews AS jsonb)) AS k (
            version_id uuid, template_id uuid, kind text, model text, tools text[], types text[], rate_in numeric,
            rate_out numeric
        ) USING (version_id)
        WHERE i.tenant_id = :tenant AND i.metadata ? 'region'
    )
"""
"""The regional agents with what their crew does."""

_AT: Final = (
    "date_trunc('milliseconds', CAST(:first AS timestamptz) + CAST(:span AS interval) * i / CAST(:tasks AS float8))"
)
"""When task number i was made: the tasks come evenly."""

# In flight is what was made in the last days; everything older has ended.
_STATUS: Final = f"""
    CASE
        WHEN i > 0.965 * CAST(:tasks AS float8) AND {drawn("i", 11, 100)} < 45 THEN 'NEEDS_APPROVAL'
        WHEN i > 0.8 * CAST(:tasks AS float8) AND {drawn("i", 12, 100)} < 30 THEN
            (ARRAY['INBOX', 'ASSIGNED', 'IN_PROGRESS', 'IN_PROGRESS', 'REVIEW', 'BLOCKED'])[1 + {drawn("i", 13, 6)}]
        WHEN {drawn("i", 14, 100)} < 5 THEN 'FAILED'
        WHEN {drawn("i", 14, 100)} < 8 THEN 'CANCELED'
        ELSE 'DONE'
    END
"""

TASKS: Final = f"""
WITH {_AGENTS}, titles AS (
    SELECT kind, array_agg(title ORDER BY title) AS texts
    FROM jsonb_to_recordset(CAST(:titles AS jsonb)) AS t (kind text, title text) GROUP BY kind
)
INSERT INTO tasks (
    tenant_id, id, created_at, updated_at, project_id, idempotency_key, title, description, type, status, priority,
    labels, source, created_by, creator_operator_id, work_plan, deliverable, review_checklist, estimated_cost,
    budget_allocated, budget_remaining, due_at, started_at, submitted_at, completed_at, blocked_reason
)
SELECT a.tenant_id, {uuid_of("at", "task", "i")}, at,
    at + CASE WHEN waits THEN interval '4 minutes' WHEN goes_on THEN interval '10 minutes'
        ELSE interval '205 minutes' END,
    a.project_id, 'region-' || i,
    replace(replace({one_of("t.texts", "i", 21)}, '{{place}}', {one_of("CAST(:places AS text[])", "i", 22)}),
        '{{thing}}', {one_of("CAST(:things AS text[])", "i", 23)}),
    'Made by the weekly plan of the regional shops.', {one_of("a.types", "i", 24)}, status,
    1 + {drawn("i", 25, 4)}, ARRAY['regional', a.kind], 'API', 'HUMAN', :operator,
    CASE WHEN NOT waits THEN jsonb_build_object('bullets', jsonb_build_array('Read', 'Do', 'Check'),
        'estimatedCost', 0.5, 'estimatedDuration', '3 hours') END,
    CASE WHEN handed_in THEN jsonb_build_object('summary', 'Done as asked; the figures are in the table.') END,
    CASE WHEN handed_in THEN jsonb_build_object('type', a.kind, 'items', jsonb_build_array(
        jsonb_build_object('label', 'Checked by a second look', 'checked', to_jsonb(1 = 1)))) END,
    0.5, 8, 8, at + interval '7 days',
    CASE WHEN NOT waits THEN at + interval '10 minutes' END,
    CASE WHEN handed_in THEN at + interval '200 minutes' END,
    CASE WHEN status IN ('DONE', 'CANCELED') THEN at + interval '205 minutes' END,
    CASE WHEN status = 'BLOCKED' THEN 'Waits for the shop to answer.' END
FROM generate_series(0, :tasks - 1) AS i
CROSS JOIN LATERAL (SELECT {_AT} AS at, {_STATUS} AS status OFFSET 0) AS s
CROSS JOIN LATERAL (
    SELECT status IN ('INBOX', 'ASSIGNED') AS waits, status = 'IN_PROGRESS' AS goes_on,
        status IN ('REVIEW', 'DONE', 'NEEDS_APPROVAL') AS handed_in
) AS f
JOIN agents a ON a.n = {drawn("i", 31, ":agents")}
JOIN titles t ON t.kind = a.kind
ORDER BY i
"""

ASSIGNEES: Final = f"""
WITH {_AGENTS}
INSERT INTO task_assignees (tenant_id, task_id, instance_id, position)
SELECT t.tenant_id, t.id, a.id, 0
FROM (SELECT *, substr(idempotency_key, 8)::int AS i FROM tasks
    WHERE tenant_id = :tenant AND idempotency_key LIKE 'region-%' AND status <> 'INBOX' OFFSET 0) AS t
JOIN agents a ON a.n = {drawn("i", 31, ":agents")}
ORDER BY t.id
"""

_BEGUN: Final = """
    begun AS MATERIALIZED (
        SELECT t.*, substr(idempotency_key, 8)::int AS i, row_number() OVER (ORDER BY id) - 1 AS nth,
            count(*) OVER () AS total
        FROM tasks t
        WHERE tenant_id = :tenant AND idempotency_key LIKE 'region-%' AND started_at IS NOT NULL
    )
"""

# Run number r is the (r / total)th of its task. The cost follows from the tokens (COST-2), to ten places.
RUNS: Final = f"""
WITH {_AGENTS}, {_BEGUN}
INSERT INTO runs (
    tenant_id, id, created_at, updated_at, project_id, idempotency_key, instance_id, version_id, template_id, task_id,
    session_key, started_at, ended_at, duration_ms, model, input_tokens, output_tokens, cost_usd, budget_allocated,
    status, error
)
SELECT a.tenant_id, {uuid_of("at", "run", "r")}, at, at + {milliseconds("took")}, a.project_id, 'region-run-' || r,
    a.id, a.version_id, a.template_id, b.id, a.name || '-' || to_char(at AT TIME ZONE 'UTC', 'YYYYMMDD'), at,
    at + {milliseconds("took")}, took, a.model, tokens_in, tokens_out,
    round((a.rate_in * tokens_in + a.rate_out * tokens_out) / 1000000, 10), 0.75,
    CASE WHEN failed THEN 'FAILED' ELSE 'COMPLETED' END,
    CASE WHEN failed THEN 'The shop''s server did not answer in time.' END
FROM generate_series(0, :runs - 1) AS r
JOIN begun b ON b.nth = r % (SELECT max(total) FROM begun)
JOIN agents a ON a.n = {drawn("b.i", 31, ":agents")}
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', b.started_at + interval '5 minutes' + (r / b.total) * interval '28 minutes'
            + {milliseconds(drawn("r", 41, 600_000))}) AS at,
        20000 + {drawn("r", 42, 460_000)} AS took, 1500 + {drawn("r", 43, 12_000)} AS tokens_in,
        200 + {drawn("r", 44, 1_500)} AS tokens_out, {drawn("r", 45, 100)} < 3 AS failed OFFSET 0
) AS s
ORDER BY at
"""

# One call in three hundred tries a tool that the house rules deny to everybody.
TOOL_CALLS: Final = f"""
WITH {_AGENTS}, numbered AS MATERIALIZED (
    SELECT r.*, substr(idempotency_key, 12)::int AS n FROM runs r
    WHERE tenant_id = :tenant AND idempotency_key LIKE 'region-run-%'
)
INSERT INTO tool_calls (
    tenant_id, id, created_at, updated_at, project_id, run_id, instance_id, task_id, tool_name, tool_version,
    risk_level, policy_result, input_preview, output_preview, started_at, ended_at, duration_ms, status, error,
    version_id, policy_envelope_id
)
SELECT r.tenant_id, {uuid_of("at", "call", "c")}, at, at + {milliseconds("took")}, r.project_id, r.id, r.instance_id,
    r.task_id, tool, '1.0', CASE WHEN denied THEN 'RED' ELSE CAST(:risks AS jsonb) ->> tool END,
    CASE WHEN denied THEN jsonb_build_object('decision', 'DENY', 'reason', 'The house rules deny rm_rf.')
        ELSE jsonb_build_object('decision', 'ALLOW', 'reason', 'The tier allows it.') END,
    format('{{"step":%s}}', c / :runs + 1), CASE WHEN NOT denied AND NOT failed THEN '"done"' END,
    at, at + {milliseconds("took")}, took,
    CASE WHEN denied THEN 'DENIED' WHEN failed THEN 'FAILED' ELSE 'SUCCESS' END,
    CASE WHEN denied THEN 'The house rules deny rm_rf.' WHEN failed THEN 'No answer in time.' END,
    r.version_id, a.policy_envelope_id
FROM generate_series(0, :calls - 1) AS c
JOIN numbered r ON r.n = c % :runs
JOIN agents a ON a.id = r.instance_id
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', r.started_at + {milliseconds("r.duration_ms * (c / :runs + 1) / 6")}) AS at,
        {drawn("c", 51, 300)} = 0 AS denied, {drawn("c", 52, 100)} < 4 AS failed OFFSET 0
) AS s
CROSS JOIN LATERAL (
    SELECT CASE WHEN denied THEN 0 ELSE 40 + {drawn("c", 53, 1_800)} END AS took,
        CASE WHEN denied THEN 'rm_rf' ELSE {one_of("a.tools", "c", 54)} END AS tool OFFSET 0
) AS d
ORDER BY at
"""

TASK_COSTS: Final = """
UPDATE tasks t SET actual_cost = s.cost, budget_remaining = t.budget_allocated - s.cost
FROM (SELECT task_id, sum(cost_usd) AS cost FROM runs WHERE tenant_id = :tenant GROUP BY task_id) AS s
WHERE t.tenant_id = :tenant AND t.id = s.task_id AND t.idempotency_key LIKE 'region-%'
"""

SPENDING: Final = """
UPDATE agent_instances i SET spend_today = s.today, spend_month = s.month
FROM (
    SELECT instance_id,
        coalesce(sum(cost_usd) FILTER (WHERE ended_at >= date_trunc('day', moment, 'UTC')), 0) AS today,
        coalesce(sum(cost_usd) FILTER (WHERE ended_at >= date_trunc('month', moment, 'UTC')), 0) AS month
    FROM runs CROSS JOIN (SELECT CAST(:now AS timestamptz) AS moment) AS n
    WHERE tenant_id = :tenant GROUP BY instance_id
) AS s
WHERE i.tenant_id = :tenant AND i.id = s.instance_id AND i.metadata ? 'region'
"""
"""Each run has one tick, at its end, so the runs say what the ticks do (COST-1)."""

# Whoever handed in a task that waits asked for its completion; of the finished ones every eighth had asked too.
APPROVALS: Final = f"""
WITH asked AS (
    SELECT t.*, substr(idempotency_key, 8)::int AS i, submitted_at + interval '1 minute' AS at,
        status = 'NEEDS_APPROVAL' AS open
    FROM tasks t
    WHERE tenant_id = :tenant AND idempotency_key LIKE 'region-%'
        AND (status = 'NEEDS_APPROVAL'
            OR status = 'DONE' AND {drawn("substr(idempotency_key, 8)::int", 61, 8)} = 0)
)
INSERT INTO approval_records (
    tenant_id, id, created_at, updated_at, request_type, requester_instance_id, target_entity, target_id,
    action_summary, justification, risk_level, estimated_cost, status, decided_by_operator_id, decided_at,
    decision_reason, required_decision_count, decision_count, expires_at, policy_envelope_id, project_id, task_id,
    version_id, idempotency_key, decisions, requested_at
)
SELECT t.tenant_id, {uuid_of("at", "approval", "t.i")}, at, CASE WHEN open THEN at ELSE decided END, 'COMPLETE_TASK',
    a.id, 'Task', t.id, 'Complete «' || t.title || '»', 'The checklist is ticked, and the result is attached.',
    'YELLOW', 0, CASE WHEN open THEN 'PENDING' ELSE 'APPROVED' END, CASE WHEN NOT open THEN voter END,
    CASE WHEN NOT open THEN decided END, CASE WHEN NOT open THEN 'Looks right.' END, 1,
    CASE WHEN open THEN 0 ELSE 1 END, at + interval '7 days', a.policy_envelope_id, t.project_id, t.id,
    a.version_id, 'region-approval-' || t.i,
    CASE WHEN NOT open THEN jsonb_build_array(jsonb_build_object('operatorId', voter, 'decision', 'APPROVED',
        'reason', 'Looks right.', 'at', to_char(decided AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24\\:MI\\:SS.MS"Z"'))) END,
    at
FROM asked t
JOIN task_assignees x ON x.tenant_id = t.tenant_id AND x.task_id = t.id
JOIN agent_instances a ON a.tenant_id = x.tenant_id AND a.id = x.instance_id
CROSS JOIN LATERAL (
    SELECT at + interval '3 minutes' AS decided,
        (CAST(:voters AS uuid[]))[1 + {drawn("t.i", 62, "cardinality(CAST(:voters AS uuid[]))")}] AS voter
) AS s
ORDER BY at
"""
