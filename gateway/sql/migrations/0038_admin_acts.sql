-- Who did what: the record of administrative acts, and how tables write it.
--
-- Only the database sees every change, whoever makes it and by whichever program: so this is written by triggers. They
-- are on tables of administration alone, never on what a charging session writes (`gateway.acts.tables` has the list,
-- and networkcore migrate puts the triggers on).

-- One administrative act: a row that was created, changed or removed, an operation that was carried out on other
-- tables, or a reading of personal data. Rows are added and never changed.
CREATE TABLE gateway.admin_act (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    acted_at       timestamptz NOT NULL DEFAULT clock_timestamp(),  -- wall time
    kind           text        NOT NULL CHECK (kind IN ('created', 'changed', 'removed', 'carried_out', 'read')),
    principal      text,       -- the API key's or the person of a command; null: nobody was named
    key_prefix     text,       -- the API key that asked
    party_id       text,       -- whose key it is
    scope          text,       -- what it needed
    request_id     text,
    operation      text,       -- of the API, or the command, or the migration
    path           text,       -- of the request, without what is personal
    reason         text,
    object_table   text,       -- what was changed: schema.table
    object_id      text,       -- its primary key
    before         jsonb,      -- the columns that changed, secrets and personal data blotted out
    after          jsonb,
    process        text        NOT NULL DEFAULT current_setting('application_name'),
    database_user  text        NOT NULL DEFAULT session_user,
    transaction_id xid8        NOT NULL DEFAULT pg_current_xact_id(),
    CHECK ((kind IN ('created', 'changed', 'removed')) = (object_table IS NOT NULL)),
    CHECK ((object_table IS NULL) = (object_id IS NULL))
);
CREATE INDEX admin_act_transaction ON gateway.admin_act (transaction_id);
CREATE INDEX admin_act_principal ON gateway.admin_act (principal, id);
CREATE INDEX admin_act_object ON gateway.admin_act (object_table, object_id, id);

-- The hash chain over the acts: each hash covers its act and the hash before, so that no act changes, disappears or is
-- slipped in unnoticed once it is sealed.
CREATE TABLE gateway.admin_act_seal (
    position bigint PRIMARY KEY CHECK (position > 0),
    act_id   bigint NOT NULL UNIQUE REFERENCES gateway.admin_act,
    hash     bytea  NOT NULL CHECK (octet_length(hash) = 32)
);

-- A row as an act shows it: hidden members blotted out (`details.contact` is a member of a JSON column), long texts by
-- their SHA-256.
CREATE FUNCTION gateway.act_values(content jsonb, hidden text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $function$
DECLARE
    shown  jsonb := content;
    member text;
    inner_value jsonb;
BEGIN
    FOREACH member IN ARRAY hidden LOOP
        IF jsonb_typeof(shown #> string_to_array(member, '.')) <> 'null' THEN
            shown := jsonb_set(shown, string_to_array(member, '.'), '"[hidden]"', false);
        END IF;
    END LOOP;
    FOR member, inner_value IN SELECT * FROM jsonb_each(shown) LOOP
        IF length(inner_value #>> '{}') > 1000 THEN
            shown := jsonb_set(shown, ARRAY[member], to_jsonb(
                'sha256:' || encode(sha256(convert_to(inner_value #>> '{}', 'UTF8')), 'hex')));
        END IF;
    END LOOP;
    RETURN shown;
END
$function$;

-- Writes the act of one row. Its arguments are the columns of the primary key and the hidden members, each with commas.
CREATE FUNCTION gateway.record_act() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
DECLARE
    act     jsonb := coalesce(nullif(current_setting('networkcore.act', true), '')::jsonb, '{}');
    hidden  text[] := string_to_array(TG_ARGV[1], ',');
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    named   text;
    changed text[];
BEGIN
    SELECT string_agg(coalesce(new_row, old_row) ->> key_column, ' ' ORDER BY place) INTO named
    FROM unnest(string_to_array(TG_ARGV[0], ',')) WITH ORDINALITY AS k (key_column, place);
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(n.key) INTO changed FROM jsonb_each(new_row) AS n
        WHERE old_row -> n.key IS DISTINCT FROM n.value;
        IF changed IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;
    old_row := gateway.act_values(old_row, hidden);
    new_row := gateway.act_values(new_row, hidden);
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(c, old_row -> c), jsonb_object_agg(c, new_row -> c) INTO old_row, new_row
        FROM unnest(changed) AS c;
    END IF;
    INSERT INTO gateway.admin_act (kind, principal, key_prefix, party_id, scope, request_id, operation, path, reason,
                                   object_table, object_id, before, after)
    VALUES (CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END,
            act ->> 'principal', act ->> 'key_prefix', act ->> 'party_id', act ->> 'scope', act ->> 'request_id',
            act ->> 'operation', act ->> 'path', act ->> 'reason',
            TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, named, old_row, new_row);
    RETURN NULL;
END
$function$;

-- Puts the triggers on a table: on every insert and delete, and on updates of the given columns, or of any.
CREATE FUNCTION gateway.watch_table(watched regclass, hidden text, columns text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
DECLARE
    keys text;
BEGIN
    SELECT string_agg(a.attname, ',' ORDER BY array_position(i.indkey::smallint[], a.attnum)) INTO keys
    FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = watched AND i.indisprimary;
    EXECUTE format('CREATE OR REPLACE TRIGGER admin_act_row AFTER INSERT OR DELETE ON %s FOR EACH ROW '
                   'EXECUTE FUNCTION gateway.record_act(%L, %L, %L)', watched, keys, hidden, columns);
    EXECUTE format('CREATE OR REPLACE TRIGGER admin_act_update AFTER UPDATE %s ON %s FOR EACH ROW '
                   'EXECUTE FUNCTION gateway.record_act(%L, %L, %L)',
                   CASE WHEN columns = '' THEN '' ELSE 'OF ' || columns END, watched, keys, hidden, columns);
END
$function$;
