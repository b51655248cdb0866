"""The functions that find a caller before a tenant is set (decision 24), in the Postgres schema `gateway`.

Row-level security shows no row as long as the tenant is not known, and which tenant it is stands in the rows. So these
functions run with the rights of their owner, ``fleetgraph_platform``, which passes row-level security, and give the
gateway's role exactly one answer each. The alternative, setting ``app.tenant_id`` inside the function, fails already
at the first step: no policy lets anyone read `tenants` by slug, nor `operators` by subject where a person has several
tenants. Their owner is not a superuser, and has nothing that the platform's own pool has not, with the embedded and
with an external Postgres alike.

Nothing can be slipped in under them: the search path is pinned, every name is qualified, and nobody but the gateway's
role may call them. They name no subject, no address and no tenant that the caller has not named first.
"""

from __future__ import annotations

from typing import Final

from db.roles import GATEWAY, PLATFORM

_HEAD: Final = """
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
"""

_RESOLVE_OPERATOR: Final = f"""
CREATE FUNCTION gateway.resolve_operator(subject text, tenant_slug text) RETURNS jsonb {_HEAD} AS $$
    WITH found AS (
        SELECT t.id AS tenant_id, t.slug, o.id, o.name, o.status, o.consented
        FROM public.tenants t
        -- One index look-up a tenant; the limit keeps the planner from turning it into a walk over all operators.
        CROSS JOIN LATERAL (
            SELECT o.id, o.name, o.status, o.gdpr_consent_at IS NOT NULL AS consented
            FROM public.operators o WHERE o.tenant_id = t.id AND o.auth_id = $1 LIMIT 1
        ) o
        WHERE t.active AND ($2 IS NULL OR t.slug = $2)
        LIMIT 2
    )
    SELECT CASE
        WHEN (SELECT count(*) FROM found) > 1 THEN jsonb_build_object('several', true)
        ELSE (
            SELECT jsonb_build_object(
                'tenant_id', f.tenant_id, 'tenant_slug', f.slug, 'id', f.id, 'name', f.name, 'status', f.status,
                'consented', f.consented,
                'grants', COALESCE((
                    SELECT jsonb_agg(jsonb_build_object(
                        'permissions', r.permissions, 'project_id', a.project_id,
                        'environment_id', a.environment_id, 'expires_at', a.expires_at))
                    FROM public.role_assignments a
                    JOIN public.roles r ON r.tenant_id = a.tenant_id AND r.id = a.role_id
                    WHERE a.tenant_id = f.tenant_id AND a.operator_id = f.id
                ), '[]'))
            FROM found f)
        END
$$
"""

_RESOLVE_INSTANCE: Final = f"""
CREATE FUNCTION gateway.resolve_instance(tenant_slug text, instance_id uuid) RETURNS jsonb {_HEAD} AS $$
    SELECT jsonb_build_object(
        'tenant_id', t.id, 'tenant_slug', t.slug, 'id', i.id, 'name', i.name,
        'state', i.state, 'project_id', i.project_id, 'token_epoch', i.token_epoch)
    FROM public.tenants t
    JOIN public.agent_instances i ON i.tenant_id = t.id AND i.id = $2
    WHERE t.active AND t.slug = $1
$$
"""

_RESOLVE_INVITATION: Final = f"""
CREATE FUNCTION gateway.resolve_invitation(email text, tenant_slug text) RETURNS jsonb {_HEAD} AS $$
    WITH found AS (
        SELECT t.id AS tenant_id, t.slug, o.id
        FROM public.tenants t
        CROSS JOIN LATERAL (
            SELECT o.id FROM public.operators o
            WHERE o.tenant_id = t.id AND o.auth_id LIKE 'invite:%' AND o.status = 'ACTIVE'
                AND lower(o.email) = lower($1)
            LIMIT 2
        ) o
        WHERE t.active AND ($2 IS NULL OR t.slug = $2)
        LIMIT 2
    )
    SELECT CASE WHEN (SELECT count(*) FROM found) = 1 THEN (
        SELECT jsonb_build_object('tenant_id', f.tenant_id, 'tenant_slug', f.slug, 'id', f.id) FROM found f) END
$$
"""

_FUNCTIONS: Final = {
    "resolve_operator(text, text)": _RESOLVE_OPERATOR,
    "resolve_instance(text, uuid)": _RESOLVE_INSTANCE,
    "resolve_invitation(text, text)": _RESOLVE_INVITATION,
}


def definer(signature: str, definition: str) -> list[str]:
    """Makes a function of the gateway that runs with the rights of the platform role, for the gateway's role alone."""
    name = f"gateway.{signature}"
    return [
        # Its owner is another role, so it is replaced by way of the schema's owner, who may drop what is in it.
        f"DROP FUNCTION IF EXISTS {name}",
        definition.strip(),
        f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION {name} TO {GATEWAY}",
        f"ALTER FUNCTION {name} OWNER TO {PLATFORM}",
    ]


CREATE: Final[tuple[str, ...]] = (
    "CREATE SCHEMA IF NOT EXISTS gateway",
    f"GRANT USAGE ON SCHEMA gateway TO {GATEWAY}, {PLATFORM}",
    f"GRANT USAGE ON SCHEMA public TO {PLATFORM}",
    "GRANT SELECT ON public.tenants, public.operators, public.roles, public.role_assignments, public.agent_instances"
    f" TO {PLATFORM}",
    # A new owner must be able to create in the schema, for this one moment.
    f"GRANT CREATE ON SCHEMA gateway TO {PLATFORM}",
    *(statement for signature, definition in _FUNCTIONS.items() for statement in definer(signature, definition)),
    f"REVOKE CREATE ON SCHEMA gateway FROM {PLATFORM}",
)
"""One statement each, in order, for the role that owns the tables and the schema; may be run again."""

DROP: Final[tuple[str, ...]] = tuple(f"DROP FUNCTION IF EXISTS gateway.{signature}" for signature in _FUNCTIONS)
"""What takes them away again."""
