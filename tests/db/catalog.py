"""What Postgres says a database consists of, so that two databases can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import asyncpg

Catalog = Mapping[str, str]
"""Definition of each thing, under its kind and name."""

_OURS: Final = "relnamespace IN ('public'::regnamespace, 'gateway'::regnamespace) AND relname <> 'alembic_version'"
# Partitions of op events come and go with the months; Alembic's own table has no model.
_TABLES: Final = f"pg_class c WHERE {_OURS} AND relkind IN ('r', 'p') AND NOT relispartition"
_TABLE: Final = f"(SELECT c.oid FROM {_TABLES})"

_QUERIES: Final = {
    "table": f"""
        SELECT c.oid::regclass::text, concat_ws(', ', CASE relkind WHEN 'p' THEN 'partitioned by ' ||
            pg_get_partkeydef(c.oid) ELSE 'plain' END, 'persistence ' || relpersistence::text,
            CASE WHEN relrowsecurity THEN 'row security' END, CASE WHEN relforcerowsecurity THEN 'forced' END,
            array_to_string(reloptions, ' '), 'granted ' || (SELECT string_agg(one::text, ' ' ORDER BY one::text)
            FROM unnest(relacl) AS one))
        FROM {_TABLES}""",
    "column": f"""
        SELECT attrelid::regclass || '.' || attname, concat_ws(' ', format_type(atttypid, atttypmod),
            'COLLATE ' || (SELECT collname FROM pg_collation l WHERE l.oid = attcollation),
            CASE WHEN attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(adbin, adrelid),
            'identity ' || nullif(attidentity::text, ''), 'generated ' || nullif(attgenerated::text, ''))
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid IN {_TABLE} AND attnum > 0 AND NOT attisdropped""",
    # NOT NULL is told with the column; its constraint has a name of its own since Postgres 18.
    "constraint": f"""
        SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE conrelid IN {_TABLE} AND contype <> 'n'""",
    "index": f"""
        SELECT indrelid::regclass || '.' || relname,
            concat_ws(' ', pg_get_indexdef(indexrelid), CASE WHEN NOT indisvalid THEN 'INVALID' END)
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid IN {_TABLE}""",
    "trigger": f"""
        SELECT tgrelid::regclass || '.' || tgname, concat_ws(' ', pg_get_triggerdef(oid), 'enabled ' || tgenabled::text)
        FROM pg_trigger WHERE tgrelid IN {_TABLE} AND NOT tgisinternal""",
    "policy": f"""
        SELECT polrelid::regclass || '.' || polname, concat_ws(' ', CASE WHEN polpermissive THEN 'permissive'
            ELSE 'restrictive' END, 'for ' || polcmd::text, 'to ' || polroles::text,
            'using ' || pg_get_expr(polqual, polrelid), 'check ' || pg_get_expr(polwithcheck, polrelid))
        FROM pg_policy WHERE polrelid IN {_TABLE}""",
    "function": """
        SELECT oid::regprocedure::text, concat_ws(' ', pg_get_functiondef(oid), 'owner ' || pg_get_userbyid(proowner),
            'granted ' || proacl::text)
        FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'gateway'::regnamespace)""",
    "other relation": f"""
        SELECT c.oid::regclass::text, 'relkind ' || relkind::text
        FROM pg_class c WHERE {_OURS} AND relkind NOT IN ('r', 'p', 'i', 'I', 't')""",
    "type": """
        SELECT t.oid::regtype::text, concat_ws(' ', 'typtype ' || typtype::text, (SELECT string_agg(
            concat_ws(' ', conname, pg_get_constraintdef(c.oid)), ', ' ORDER BY conname)
            FROM pg_constraint c WHERE contypid = t.oid))
        FROM pg_type t WHERE typnamespace IN ('public'::regnamespace, 'gateway'::regnamespace)
            AND typtype IN ('e', 'd', 'r', 'm')""",
}


async def read_catalog(connection: asyncpg.Connection) -> Catalog:
    """Tables with columns, constraints, indexes, triggers, policies and grants, functions, and whatever else there is.

    The order of columns is not told: a column that a later version adds stands last in a migrated database.
    """
    return {
        f"{kind} {name}": definition
        for kind, query in _QUERIES.items()
        for name, definition in await connection.fetch(query)
    }


def differences(models: Catalog, migrated: Catalog) -> str:
    """What the migrated database has otherwise than the models, and what to do about it; empty where nothing is."""
    lines = []
    for name in sorted({*models, *migrated}):
        wanted, found = models.get(name), migrated.get(name)
        if wanted == found:
            continue
        lines.append(f"  {name}")
        lines += [f"    models:   {wanted or 'nothing of the kind'}", f"    migrated: {found or 'nothing of the kind'}"]
    if not lines:
        return ""
    return "\n".join(
        [
            "The migrated database is not what the models say:",
            *lines,
            "Add a version to db/migrations/versions that brings the one to the other. A version that was released is",
            "never changed. Where the models are wrong, change them.",
        ]
    )
