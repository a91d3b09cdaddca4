-- What documents show of sessions: their CDRs.

-- name: originals
SELECT s.id, s.cdr, s.cdr_version, s.tariff_sha256, s.time_zone
FROM unnest(:shards::smallint[], :ids::uuid[]) AS asked (shard, id)
JOIN gateway.session AS s ON s.shard = asked.shard AND s.id = asked.id  -- shards of s
WHERE s.cdr IS NOT NULL AND s.cdr_version IS NOT NULL;
