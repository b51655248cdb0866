"""What makes the logs trustworthy, in the Postgres schema `gateway`: the numbers and hashes of the change records, the
refusal to rewrite history, and the partitions of the op events.
"""

from __future__ import annotations

from typing import Final

from db.roles import GATEWAY, PLATFORM

_HEAD: Final = "SET search_path = pg_catalog, pg_temp"


def _trigger(table: str, name: str, occasion: str, action: str) -> str:
    """Makes the trigger unless it is there: replacing one would wait for all who write to the table. So a trigger whose
    definition changes gets another name."""
    return f"""
DO $do$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'public.{table}'::regclass AND tgname = '{name}' AND tgenabled = 'O'
    ) THEN
        CREATE OR REPLACE TRIGGER {name} {occasion} ON public.{table} {action};
    END IF;
END
$do$"""


# The counters of a tenant come with the tenant. The trigger has the rights of whoever inserts the tenant: the platform
# role, or the owner with app.tenant_id set to the new tenant.
_TENANT_COUNTERS: Final = (
    f"""
CREATE OR REPLACE FUNCTION gateway.add_tenant_counters() RETURNS trigger LANGUAGE plpgsql {_HEAD} AS $$
BEGIN
    INSERT INTO gateway.tenant_counters (tenant_id) VALUES (NEW.id);
    RETURN NULL;
END
$$""",
    _trigger("tenants", "add_counters", "AFTER INSERT", "FOR EACH ROW EXECUTE FUNCTION gateway.add_tenant_counters()"),
)

# The chain of decision 2: hash = sha256(previous hash || number || content hash), as bytes, the number as eight bytes,
# the big end first. Hashes come and go as lower-case hex; `base` is the number before the first.
# `chain_head` is its last hash, as a function of its own: UPDATE … SET change_hash = gateway.chain_head(…) computes it
# again when it had to wait for another writer and finds a newer head.
_CHAIN: Final = (
    """
CREATE OR REPLACE FUNCTION gateway.link(prev text, seq bigint, content_hash text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN encode(sha256(decode(prev, 'hex') || int8send(seq) || decode(content_hash, 'hex')), 'hex')""",
    f"""
CREATE OR REPLACE FUNCTION gateway.chain(prev text, base bigint, content_hashes text[])
RETURNS TABLE (ord bigint, seq bigint, prev_hash text, hash text)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE {_HEAD} AS $$
DECLARE
    content_hash text;
BEGIN
    ord := 0;
    hash := prev;
    FOREACH content_hash IN ARRAY content_hashes LOOP
        ord := ord + 1;
        seq := base + ord;
        prev_hash := hash;
        hash := gateway.link(prev_hash, seq, content_hash);
        RETURN NEXT;
    END LOOP;
END
$$""",
    f"""
CREATE OR REPLACE FUNCTION gateway.chain_head(prev text, base bigint, content_hashes text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE {_HEAD} AS $$
DECLARE
    content_hash text;
BEGIN
    FOREACH content_hash IN ARRAY content_hashes LOOP
        base := base + 1;
        prev := gateway.link(prev, base, content_hash);
    END LOOP;
    RETURN prev;
END
$$""",
)

# Change records are rewritten by nobody (AUD-3); the build of a version is immutable from its creation on (GEN-6).
_REFUSALS: Final = (
    f"""
CREATE OR REPLACE FUNCTION gateway.refuse_rewriting_history() RETURNS trigger LANGUAGE plpgsql {_HEAD} AS $$
BEGIN
    RAISE EXCEPTION 'Change records are append-only: % is refused (AUD-3).', TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'Put a mistake right with a new change record.';
END
$$""",
    _trigger(
        "change_records",
        "append_only",
        "BEFORE UPDATE OR DELETE OR TRUNCATE",
        "FOR EACH STATEMENT EXECUTE FUNCTION gateway.refuse_rewriting_history()",
    ),
    f"""
CREATE OR REPLACE FUNCTION gateway.refuse_changing_build() RETURNS trigger LANGUAGE plpgsql {_HEAD} AS $$
BEGIN
    RAISE EXCEPTION 'Agent version % is immutable: its genome, genome_hash, template_id, tenant_id and '
        'parent_version_id never change (GEN-6).', OLD.id
        USING ERRCODE = 'restrict_violation', HINT = 'Make a new version that has this one as its parent.';
END
$$""",
    _trigger(
        "agent_versions",
        "immutable_build",
        "BEFORE UPDATE",
        """FOR EACH ROW WHEN (
            (OLD.genome, OLD.genome_hash, OLD.template_id, OLD.tenant_id, OLD.parent_version_id)
            IS DISTINCT FROM (NEW.genome, NEW.genome_hash, NEW.template_id, NEW.tenant_id, NEW.parent_version_id)
        ) EXECUTE FUNCTION gateway.refuse_changing_build()""",
    ),
)

# One partition a month (UTC), bounded by the smallest UUIDv7 of its first millisecond (decision 5). They are made and
# dropped with the rights of the owner, by the platform role alone. Attaching a finished table, unlike CREATE TABLE …
# PARTITION OF, lets readers and writers of the other partitions go on.
_PARTITIONS: Final = (
    """
CREATE OR REPLACE FUNCTION gateway.first_id_at(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN rpad(lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid""",
    f"""
CREATE OR REPLACE FUNCTION gateway.ensure_op_event_partitions(since timestamptz, until timestamptz)
RETURNS SETOF text LANGUAGE plpgsql STRICT SECURITY DEFINER {_HEAD} AS $$
DECLARE
    month timestamp := date_trunc('month', since AT TIME ZONE 'UTC');
    partition text;
BEGIN
    IF until < since OR until > since + interval '20 years' THEN
        RAISE EXCEPTION 'until (%) must lie between since (%) and 20 years after it.', until, since
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- One at a time: whoever waited here finds the tables that the other made.
    PERFORM pg_advisory_xact_lock(hashtextextended('gateway.op_event_partitions', 0));
    WHILE month <= until AT TIME ZONE 'UTC' LOOP
        partition := 'op_events_' || to_char(month, 'YYYY_MM');
        IF to_regclass('public.' || partition) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I (LIKE public.op_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                partition);
            PERFORM gateway.raise_wall(('public.' || partition)::regclass);
            EXECUTE format('ALTER TABLE public.op_events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                partition, gateway.first_id_at(month AT TIME ZONE 'UTC'),
                gateway.first_id_at((month + interval '1 month') AT TIME ZONE 'UTC'));
            RETURN NEXT partition;
        END IF;
        month := month + interval '1 month';
    END LOOP;
END
$$""",
    # Retention notes in gateway.retention_marks what goes, first and in the same transaction.
    f"""
CREATE OR REPLACE FUNCTION gateway.drop_op_event_partitions(before timestamptz)
RETURNS SETOF text LANGUAGE plpgsql STRICT SECURITY DEFINER {_HEAD} SET lock_timeout = '1s' AS $$
DECLARE
    partition text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('gateway.op_event_partitions', 0));
    FOR partition IN
        SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
        WHERE inhparent = 'public.op_events'::regclass
            -- The planner may ask this of every relation, before the join.
            AND CASE WHEN relname ~ '^op_events_[0-9]{{4}}_[0-9]{{2}}$'
                THEN to_date(right(relname, 7), 'YYYY_MM') + interval '1 month' <= before AT TIME ZONE 'UTC'
            END
        ORDER BY relname
    LOOP
        EXECUTE format('DROP TABLE public.%I', partition);
        RETURN NEXT partition;
    END LOOP;
END
$$""",
)

_CALLERS: Final = {
    "add_tenant_counters()": "",
    "refuse_rewriting_history()": "",
    "refuse_changing_build()": "",
    "link(text, bigint, text)": f"{GATEWAY}, {PLATFORM}",
    "chain(text, bigint, text[])": f"{GATEWAY}, {PLATFORM}",
    "chain_head(text, bigint, text[])": f"{GATEWAY}, {PLATFORM}",
    "first_id_at(timestamptz)": f"{GATEWAY}, {PLATFORM}",
    "ensure_op_event_partitions(timestamptz, timestamptz)": PLATFORM,
    "drop_op_event_partitions(timestamptz)": PLATFORM,
}
"""Who may call what, beside the owner."""


def _grants() -> list[str]:
    statements = []
    for signature, callers in _CALLERS.items():
        statements.append(f"REVOKE ALL ON FUNCTION gateway.{signature} FROM PUBLIC")
        if callers:
            statements.append(f"GRANT EXECUTE ON FUNCTION gateway.{signature} TO {callers}")
    return statements


CREATE: Final = tuple(one.strip() for one in (*_TENANT_COUNTERS, *_CHAIN, *_REFUSALS, *_PARTITIONS, *_grants()))
"""One statement each, in order, for the role that owns the tables; may be run again. db.functions.walls comes first:
a new partition gets its wall from there."""
