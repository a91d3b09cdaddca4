-- The log of requests: added in batches off the path of a request, listed newest first.

-- name: insert_requests!
INSERT INTO gateway.request_log (id, party_id, key_prefix, request_id, method, route, status, duration_ms, error_code,
                                 requested_at)
SELECT * FROM unnest(:ids::uuid[], :party_ids::text[], :key_prefixes::text[], :request_ids::text[], :methods::text[],
                     :routes::text[], :statuses::smallint[], :durations_ms::integer[], :error_codes::text[],
                     :requested_at::timestamptz[]);

-- name: list_requests
SELECT id, party_id, key_prefix, request_id, method, route, status, duration_ms, error_code, requested_at
FROM gateway.request_log
WHERE (:party_id::text IS NULL OR party_id = :party_id)
  AND (:before::uuid IS NULL OR id < :before)
  AND (:request_id::text IS NULL OR request_id = :request_id)
  AND (:key_prefix::text IS NULL OR key_prefix = :key_prefix)
  AND status >= :status_from
ORDER BY id DESC LIMIT :limit;

-- name: find_request^
SELECT id, party_id, key_prefix, request_id, method, route, status, duration_ms, error_code, requested_at
FROM gateway.request_log WHERE id = :id AND (:party_id::text IS NULL OR party_id = :party_id);
