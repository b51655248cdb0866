-- What makes the logs trustworthy: numbers and hashes of the change records, refusals to rewrite history, and the
-- partitions of the op events. Every statement may be run again.

-- The counters of a tenant come with the tenant. The trigger runs with the rights of whoever inserts the tenant: the
-- platform role, or the owner with app.tenant_id set to the new tenant.

CREATE OR REPLACE FUNCTION gateway.add_tenant_counters() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO gateway.tenant_counters (tenant_id) VALUES (NEW.id);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER tenants_add_counters AFTER INSERT ON public.tenants
    FOR EACH ROW EXECUTE FUNCTION gateway.add_tenant_counters();

-- The chain of decision 2: hash = sha256(previous hash || number as 8 bytes, big end first || content hash), all as
-- bytes; hashes are passed and returned as lower-case hex. `base` is the number before the first.

CREATE OR REPLACE FUNCTION gateway.chain(prev text, base bigint, content_hashes text[])
RETURNS TABLE (ord integer, seq bigint, prev_hash text, hash text)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    hash := prev;
    FOR ord IN 1 .. cardinality(content_hashes) LOOP
        chain.ord := ord;
        seq := base + ord;
        prev_hash := hash;
        hash := encode(sha256(decode(prev_hash, 'hex') || int8send(seq) || decode(content_hashes[ord], 'hex')), 'hex');
        RETURN NEXT;
    END LOOP;
END
$$;

-- The last hash of that chain. A function of its own, so that UPDATE … SET change_hash = … computes it again when it
-- had to wait for another writer and finds a newer head.

CREATE OR REPLACE FUNCTION gateway.chain_head(prev text, base bigint, content_hashes text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOR ord IN 1 .. cardinality(content_hashes) LOOP
        prev := encode(
            sha256(decode(prev, 'hex') || int8send(base + ord) || decode(content_hashes[ord], 'hex')), 'hex');
    END LOOP;
    RETURN prev;
END
$$;

-- Change records are never rewritten, by nobody (AUD-3).

CREATE OR REPLACE FUNCTION gateway.refuse_rewriting_history() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'Change records are append-only: % of % is refused (AUD-3).', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Correct a mistake with a new change record.';
END
$$;

CREATE OR REPLACE TRIGGER change_records_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.change_records
    FOR EACH STATEMENT EXECUTE FUNCTION gateway.refuse_rewriting_history();

-- A version's build is immutable from its creation on (GEN-6).

CREATE OR REPLACE FUNCTION gateway.refuse_changing_build() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'Agent version % is immutable: genome, genome_hash, template_id, tenant_id and parent_version_id '
        'never change (GEN-6).', OLD.id
        USING ERRCODE = 'restrict_violation', HINT = 'Create a new version that has this one as its parent.';
END
$$;

CREATE OR REPLACE TRIGGER agent_versions_immutable_build BEFORE UPDATE ON public.agent_versions
    FOR EACH ROW WHEN (
        (OLD.genome, OLD.genome_hash, OLD.template_id, OLD.tenant_id, OLD.parent_version_id)
        IS DISTINCT FROM (NEW.genome, NEW.genome_hash, NEW.template_id, NEW.tenant_id, NEW.parent_version_id)
    ) EXECUTE FUNCTION gateway.refuse_changing_build();

-- Op events lie in one partition a month (UTC), bounded by the smallest UUIDv7 of its first millisecond (decision 5).

CREATE OR REPLACE FUNCTION gateway.first_id_at(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT rpad(lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- Makes the partitions of all months from `since` to `until` that do not exist yet, and returns their names. Attaching
-- a finished table, unlike CREATE TABLE … PARTITION OF, lets readers and writers of the other partitions go on.

CREATE OR REPLACE FUNCTION gateway.ensure_op_event_partitions(since timestamptz, until timestamptz) RETURNS SETOF text
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    month timestamp := date_trunc('month', since AT TIME ZONE 'UTC');
    partition text;
BEGIN
    IF until < since OR until > since + interval '20 years' THEN
        RAISE EXCEPTION 'until (%) must lie between since (%) and 20 years later.', until, since
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- One at a time: who waits here finds the tables that the other made.
    PERFORM pg_advisory_xact_lock(hashtextextended('gateway.ensure_op_event_partitions', 0));
    WHILE month <= until AT TIME ZONE 'UTC' LOOP
        partition := to_char(month, '"op_events_"YYYY_MM');
        IF to_regclass('public.' || partition) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I (LIKE public.op_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                           partition);
            PERFORM gateway.raise_wall('public.' || partition);
            EXECUTE format('ALTER TABLE public.op_events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                           partition,
                           gateway.first_id_at(month AT TIME ZONE 'UTC'),
                           gateway.first_id_at((month + interval '1 month') AT TIME ZONE 'UTC'));
            RETURN NEXT partition;
        END IF;
        month := month + interval '1 month';
    END LOOP;
END
$$;

-- Drops the partitions whose every event is older than `before`, and returns their names. The retention job notes in
-- gateway.retention_marks what goes, in the same transaction and first.

CREATE OR REPLACE FUNCTION gateway.drop_op_event_partitions(before timestamptz) RETURNS SETOF text
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
AS $$
DECLARE
    partition name;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('gateway.ensure_op_event_partitions', 0));
    FOR partition IN
        SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
        WHERE inhparent = 'public.op_events'::regclass
          AND (to_timestamp(right(relname, 7), 'YYYY_MM')::timestamp + interval '1 month') AT TIME ZONE 'UTC' <= before
        ORDER BY relname
    LOOP
        EXECUTE format('DROP TABLE public.%I', partition);
        RETURN NEXT partition;
    END LOOP;
END
$$;
