"""The database's wall between tenants, and what each role may do.

A tenant's rows are seen and written only while `app.tenant_id` names the tenant; unset means no rows (decision 10).
FORCE binds the owner too. The platform role passes, by its BYPASSRLS. The statements find the tables by themselves, so
that a migration with a new table only runs them again; a table that deletes or forbids more than most is named here.
"""

from __future__ import annotations

from typing import Final

from db.roles import GATEWAY, PLATFORM

_APPEND_ONLY: Final = ("audit_logs", "change_records", "op_events")
_DELETABLE: Final = (
    # Key lists (decision 12).
    *("agent_template_owners", "agent_version_approvals", "task_assignees"),
    # What its holder may throw away (decision 19).
    *("captures", "feature_flags", "notification_preferences", "notifications", "saved_views", "thread_subscriptions"),
    *("watch_subscriptions", "roles"),
    # Ties that are cut: a grant is revoked, an edge of the graph of tasks is removed, a seat is vacated.
    *("org_assignments", "role_assignments", "task_dependencies"),
)
"""Tables of the domain whose rows the gateway may delete; everywhere else rows end by a state."""


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# A wall that stands is left alone: altering a table would wait for all who use it.
_RAISE_WALL: Final = """
CREATE OR REPLACE FUNCTION gateway.raise_wall(walled regclass, key text DEFAULT 'tenant_id') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own text := format('(%I = (NULLIF(current_setting(''app.tenant_id''::text, true), ''''::text))::uuid)', key);
BEGIN
    IF EXISTS (
        SELECT FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid
        WHERE pg_class.oid = walled AND relrowsecurity AND relforcerowsecurity AND polname = 'own_tenant'
            AND pg_get_expr(polqual, polrelid) = own AND polwithcheck IS NULL
    ) THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', walled);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', walled);
    EXECUTE format('DROP POLICY IF EXISTS own_tenant ON %s', walled);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING %s', walled, own);
END
$$"""

_WALLS: Final = """
DO $$
BEGIN
    PERFORM gateway.raise_wall('public.tenants', 'id');
    PERFORM gateway.raise_wall(attrelid::regclass)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE attname = 'tenant_id' AND relkind IN ('r', 'p')
        AND relnamespace IN ('public'::regnamespace, 'gateway'::regnamespace);
END
$$"""

# Partitions are reached through their table and need no grant. The jobs are the platform's; what else belongs to no
# tenant (the version of the schema, which readiness asks for) may be read.
_GRANTS: Final = f"""
DO $$
DECLARE
    one record;
    for_gateway text;
    for_platform text;
BEGIN
    FOR one IN
        SELECT c.oid::regclass AS name, relname, nspname = 'public' AS public,
            relname = 'tenants' OR EXISTS (
                SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id') AS of_tenants
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname IN ('public', 'gateway') AND relkind IN ('r', 'p') AND NOT relispartition
    LOOP
        for_platform := CASE
            WHEN NOT one.of_tenants AND one.relname <> 'jobs' THEN 'SELECT'
            WHEN one.relname = 'change_records' THEN 'SELECT, INSERT'
            WHEN one.relname IN ({_names(_APPEND_ONLY)}) THEN 'SELECT, INSERT, DELETE'
            ELSE 'SELECT, INSERT, UPDATE, DELETE'
        END;
        for_gateway := CASE
            WHEN one.relname = 'jobs' THEN NULL
            WHEN NOT one.of_tenants THEN 'SELECT'
            WHEN one.relname = 'tenants' THEN 'SELECT, UPDATE'
            WHEN one.relname IN ({_names(_APPEND_ONLY)}) THEN 'SELECT, INSERT'
            WHEN one.relname = 'tenant_counters' THEN 'SELECT, UPDATE'
            WHEN one.relname = 'retention_marks' THEN 'SELECT'
            WHEN one.relname IN ({_names(_DELETABLE)}) OR NOT one.public THEN 'SELECT, INSERT, UPDATE, DELETE'
            ELSE 'SELECT, INSERT, UPDATE'
        END;
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, {GATEWAY}, {PLATFORM}', one.name);
        EXECUTE format('GRANT %s ON %s TO {PLATFORM}', for_platform, one.name);
        IF for_gateway IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %s TO {GATEWAY}', for_gateway, one.name);
        END IF;
    END LOOP;
END
$$"""

CREATE: Final = tuple(
    one.strip()
    for one in (
        "REVOKE ALL ON SCHEMA public, gateway FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA public, gateway TO {GATEWAY}, {PLATFORM}",
        _RAISE_WALL,
        "REVOKE ALL ON FUNCTION gateway.raise_wall(regclass, text) FROM PUBLIC",
        _WALLS,
        _GRANTS,
    )
)
"""One statement each, in order, for the role that owns the tables, after they are made; may be run again."""
