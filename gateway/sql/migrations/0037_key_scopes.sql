-- Scopes by area, each to read or to write, and what a key is limited to beside them.

-- What the scopes of the first release stand for. A key keeps the names that it was made with: the check of a key
-- resolves them, so that both releases read the same rows.
CREATE TABLE gateway.scope_set (
    name  text NOT NULL CHECK (name <> ''),
    scope text NOT NULL CHECK (scope ~ '^[a-z_]+:(read|write)$'),
    PRIMARY KEY (name, scope)
);
INSERT INTO gateway.scope_set (name, scope)
SELECT name, name || ':' || verb
FROM unnest(ARRAY['capture', 'plug_and_charge', 'contracts', 'webhooks']) AS name,
     unnest(ARRAY['read', 'write']) AS verb;
INSERT INTO gateway.scope_set (name, scope)
SELECT 'admin', area || ':' || verb
FROM unnest(ARRAY['capture', 'plug_and_charge', 'contracts', 'settlement', 'webhooks', 'keys', 'parties', 'trust',
                  'support', 'finance', 'clock']) AS area,
     unnest(ARRAY['read', 'write']) AS verb
UNION ALL
SELECT 'admin', area || ':read' FROM unnest(ARRAY['events', 'acts', 'metrics', 'status']) AS area;

-- Where a key works from; null: from everywhere. When it was last used, to the minute, as the gateways note it.
ALTER TABLE gateway.api_key
    ADD COLUMN allowed_networks cidr[] CHECK (cardinality(allowed_networks) BETWEEN 1 AND 50),
    ADD COLUMN last_used_at timestamptz;
