"""Which rows changed, for those who watch them: every statement that changes rows of a tenant notes their ids.

It is the database that notes, so nothing is missed: neither what a cascade changes by the thousand, nor what a job, an
import or another gateway does. A note has no number, since a number without holes would make all writers of a tenant
wait for each other; it has the transaction's id, and whoever reads asks for what their last snapshot did not show.
The two logs have numbers of their own and are not noted here. Notes are thrown away after minutes.
"""

from __future__ import annotations

from typing import Final

from db.roles import GATEWAY, PLATFORM

_LOGS: Final = ("change_records", "op_events")
_ASSOCIATIONS: Final = {
    "agent_template_owners": ("agent_templates", "template_id"),
    "agent_version_approvals": ("agent_versions", "version_id"),
    "task_assignees": ("tasks", "task_id"),
}
"""What changes with a row of an association: the row that shows it as a list (decision 12)."""

# With the rights of whoever changes the row: the walls hold for the note as they do for the row. The rows of one
# statement are one insert, and a row that a transaction changes twice is noted once. A cascade runs as the owner of the
# tables, whom the walls bind too: whoever deletes rows that others hang on has `app.tenant_id` set, whatever the role.
_NOTE: Final = """
CREATE OR REPLACE FUNCTION gateway.note_row_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_NARGS = 2 THEN
        INSERT INTO gateway.row_changes AS note (tenant_id, xact, table_name, row_id, gone)
        SELECT DISTINCT changed.tenant_id, pg_current_xact_id()::text::bigint, TG_ARGV[0],
            (to_jsonb(changed) ->> TG_ARGV[1])::uuid, false
        FROM changed
        ON CONFLICT DO NOTHING;
    ELSIF TG_TABLE_NAME = 'tenants' THEN
        INSERT INTO gateway.row_changes AS note (tenant_id, xact, table_name, row_id, gone)
        SELECT changed.id, pg_current_xact_id()::text::bigint, TG_TABLE_NAME, changed.id, TG_OP = 'DELETE'
        FROM changed
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO gateway.row_changes AS note (tenant_id, xact, table_name, row_id, gone)
        SELECT changed.tenant_id, pg_current_xact_id()::text::bigint, TG_TABLE_NAME, changed.id, TG_OP = 'DELETE'
        FROM changed
        ON CONFLICT (tenant_id, xact, table_name, row_id) DO UPDATE SET gone = excluded.gone
            WHERE note.gone <> excluded.gone;
    END IF;
    RETURN NULL;
END
$$"""

# A trigger that stands is left alone: replacing it would wait for all who write to the table.
_WATCH: Final = f"""
DO $do$
DECLARE
    one record;
    occasion text;
    arguments text;
BEGIN
    FOR one IN
        SELECT c.oid::regclass AS name, relname, EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'id' AND NOT attisdropped) AS has_id
        FROM pg_class c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND relname NOT IN ({", ".join(f"'{name}'" for name in _LOGS)})
            AND (relname = 'tenants' OR EXISTS (
                SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id' AND NOT attisdropped))
    LOOP
        arguments := CASE one.relname
            {" ".join(f"WHEN '{table}' THEN '''{owner}'', ''{key}'''" for table, (owner, key) in _ASSOCIATIONS.items())}
            ELSE '' END;
        IF arguments = '' AND NOT one.has_id THEN
            RAISE EXCEPTION 'Table % has no id: say in db/functions/changes.py which row changes with it.', one.relname;
        END IF;
        FOREACH occasion IN ARRAY ARRAY['insert', 'update', 'delete'] LOOP
            IF NOT EXISTS (
                SELECT FROM pg_trigger WHERE tgrelid = one.name AND tgname = 'note_' || occasion AND tgenabled = 'O'
            ) THEN
                EXECUTE format(
                    'CREATE OR REPLACE TRIGGER %I AFTER %s ON %s REFERENCING %s TABLE AS changed '
                    'FOR EACH STATEMENT EXECUTE FUNCTION gateway.note_row_changes(%s)',
                    'note_' || occasion, occasion, one.name,
                    CASE occasion WHEN 'delete' THEN 'OLD' ELSE 'NEW' END, arguments);
            END IF;
        END LOOP;
    END LOOP;
END
$do$"""

# Where the feeds of these tenants stand, for those who look whether a ring was lost: numbers and nothing else. One
# statement for all tenants that a gateway follows; so it passes the walls, as the functions of db.functions.auth do.
_HEADS: Final = """
CREATE FUNCTION gateway.heads(tenants uuid[], seen text[])
RETURNS TABLE (tenant_id uuid, event_seq bigint, change_seq bigint, rows_changed boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT given.id, heads.event_seq, heads.change_seq, EXISTS (
        SELECT FROM gateway.row_changes note
        WHERE note.tenant_id = given.id
            AND note.xact >= pg_snapshot_xmin(given.snapshot::pg_snapshot)::text::bigint
            AND NOT pg_visible_in_snapshot(note.xact::text::xid8, given.snapshot::pg_snapshot))
    FROM unnest($1, $2) AS given (id, snapshot)
    JOIN gateway.tenant_counters heads ON heads.tenant_id = given.id
$$"""

CREATE: Final = (
    _NOTE.strip(),
    "REVOKE ALL ON FUNCTION gateway.note_row_changes() FROM PUBLIC",
    _WATCH.strip(),
    # Its owner is another role, so it is replaced by way of the schema's owner, who may drop what is in it.
    "DROP FUNCTION IF EXISTS gateway.heads(uuid[], text[])",
    _HEADS.strip(),
    "REVOKE ALL ON FUNCTION gateway.heads(uuid[], text[]) FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION gateway.heads(uuid[], text[]) TO {GATEWAY}",
    f"GRANT CREATE ON SCHEMA gateway TO {PLATFORM}",
    f"ALTER FUNCTION gateway.heads(uuid[], text[]) OWNER TO {PLATFORM}",
    f"REVOKE CREATE ON SCHEMA gateway FROM {PLATFORM}",
)
"""One statement each, in order, for the role that owns the tables; may be run again. The walls come after."""
