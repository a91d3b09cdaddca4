-- What documents show of sessions: their CDRs and frozen tariffs.

-- name: originals
SELECT s.id, s.cdr, s.cdr_version, s.tariff_sha256, s.time_zone
FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
JOIN gateway.session AS s ON s.shard = asked.shard AND s.id = asked.id
WHERE s.cdr IS NOT NULL AND s.cdr_version IS NOT NULL;

-- name: tariffs
-- Each tariff once, however many sessions it priced.
SELECT sha256, canonical, version FROM gateway.tariff_snapshot WHERE sha256 = ANY(:hashes::text[]);
