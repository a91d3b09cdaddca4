-- Providers: whose contracts an eMAID names, by its first five characters.

-- name: put_provider!
INSERT INTO pnc.provider (environment, provider_id, party, registered_at)
VALUES (:environment, :provider_id, :party, :now)
ON CONFLICT (environment, provider_id) DO UPDATE SET party = excluded.party, registered_at = excluded.registered_at
WHERE pnc.provider.party <> excluded.party;

-- name: delete_provider$
DELETE FROM pnc.provider WHERE environment = :environment AND provider_id = :provider_id RETURNING provider_id;

-- name: party_of_provider$
SELECT party FROM pnc.provider WHERE environment = :environment AND provider_id = :provider_id;

-- name: list_providers
-- Those that are registered, and those under which contracts are stored, with the parties that have stored them.
SELECT coalesce(p.provider_id, c.provider_id) AS id, p.party, p.registered_at,
       coalesce(c.parties, '{}') AS parties, coalesce(c.contracts, 0) AS contracts,
       p.party IS NOT NULL AND coalesce(c.parties <> ARRAY[p.party], false) AS disputed
FROM (SELECT * FROM pnc.provider WHERE environment = :environment) AS p
FULL JOIN (
    SELECT left(emaid, 5) AS provider_id, array_agg(DISTINCT party ORDER BY party) AS parties, count(*) AS contracts
    FROM pnc.contract WHERE environment = :environment AND state <> 'cancelled'
    GROUP BY left(emaid, 5)) AS c USING (provider_id)
ORDER BY 1;
