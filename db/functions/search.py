"""Full-text search behind the wall between tenants, in the Postgres schema `gateway` (decision 23, TASK-6).

Row-level security must hold before anything else may look at a row, and the operators of full text and of lists are
not marked as safe to run earlier (`LEAKPROOF`), which only a superuser could change. So for the gateway's role Postgres
never uses a GIN index, and would read every row of the tenant for each search. These functions run with the rights of
``fleetgraph_platform``, which passes row-level security, and put the tenant's condition themselves: that of
`app.tenant_id`, as the wall does; unset means no rows. They give back ids alone. Whoever wants the rows reads them
through the wall.
"""

from __future__ import annotations

from typing import Final

from db.functions.auth import definer
from db.roles import PLATFORM

MOST_HITS: Final = 1_000
"""Hits that a search looks at: the best by the title, then the newest."""

TASK_WORDS: Final = (
    "(setweight(to_tsvector('simple'::regconfig, title), 'A')"
    " || setweight(to_tsvector('simple'::regconfig, COALESCE(description, '')), 'B'))"
)
"""The words of a task, those of its title with the weight A: the expression that is indexed."""

_SEARCH_TASKS: Final = f"""
CREATE FUNCTION gateway.search_tasks(words tsquery, title_words tsquery, label_words text[])
RETURNS TABLE (id uuid, in_title boolean)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id, {TASK_WORDS} @@ title_words
    FROM public.tasks t
    WHERE t.tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid
        AND ({TASK_WORDS} @@ words OR t.labels && label_words)
    ORDER BY 2 DESC, t.id DESC
    LIMIT {MOST_HITS}
$$
"""

MESSAGE_WORDS: Final = "to_tsvector('simple'::regconfig, COALESCE(content_redacted, content))"
"""The words of a message that everybody may see: of one with a redacted version, those of that (PII-4)."""
APPROVAL_WORDS: Final = "to_tsvector('simple'::regconfig, action_summary || ' ' || justification)"
"""The words of a request for approval."""


def _newest(name: str, table: str, words: str) -> str:
    """A search that gives the newest rows that have every word."""
    return f"""
CREATE FUNCTION gateway.{name}(words tsquery) RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id
    FROM public.{table} t
    WHERE t.tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid AND {words} @@ words
    ORDER BY t.id DESC
    LIMIT {MOST_HITS}
$$
"""


_FUNCTIONS: Final = {
    "search_tasks(tsquery, tsquery, text[])": _SEARCH_TASKS,
    "search_messages(tsquery)": _newest("search_messages", "messages", MESSAGE_WORDS),
    "search_approvals(tsquery)": _newest("search_approvals", "approval_records", APPROVAL_WORDS),
}

CREATE: Final[tuple[str, ...]] = (
    f"GRANT SELECT ON public.tasks, public.messages, public.approval_records TO {PLATFORM}",
    f"GRANT CREATE ON SCHEMA gateway TO {PLATFORM}",
    *(statement for signature, definition in _FUNCTIONS.items() for statement in definer(signature, definition)),
    f"REVOKE CREATE ON SCHEMA gateway FROM {PLATFORM}",
)
"""One statement each, in order, for the role that owns the tables and the schema, after `auth.CREATE`; may be run
again."""
