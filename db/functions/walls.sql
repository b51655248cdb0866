-- The database's wall between tenants, and what each role may do. Runs after everything else of a migration; every
-- statement may be run again, and finds new tables by itself.
--
-- A tenant's rows are seen and written only while app.tenant_id names the tenant; unset means no rows (decision 10).
-- FORCE binds the owner too. The platform role passes by its BYPASSRLS.

CREATE OR REPLACE FUNCTION gateway.raise_wall(walled regclass, key text DEFAULT 'tenant_id') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', walled);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', walled);
    EXECUTE format('DROP POLICY IF EXISTS own_tenant ON %s', walled);
    EXECUTE format(
        'CREATE POLICY own_tenant ON %s USING (%I = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)',
        walled, key);
END
$$;

CREATE OR REPLACE VIEW gateway.tenant_tables AS
    SELECT c.oid::regclass AS name, n.nspname AS schema, c.relname AS plain_name, c.relispartition AS is_partition
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('public', 'gateway')
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p');
