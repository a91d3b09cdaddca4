-- name: ended_sessions
-- Of the given authorizations, those whose session has its CDR or no authorization left that could be captured.
SELECT a.id
FROM unnest(:shards::smallint[], :ids::uuid[]) AS wanted (shard, id)
JOIN gateway.payment_authorization a ON a.shard = wanted.shard AND a.id = wanted.id
JOIN gateway.session s ON s.shard = a.shard AND s.id = a.session_id
WHERE s.state <> 'active' OR NOT EXISTS (
    SELECT FROM gateway.payment_authorization other
    WHERE other.shard = s.shard AND other.session_id = s.id AND other.state NOT IN ('voided', 'failed'));

-- name: amounts_of_authorizations
-- What each of the given authorizations costs: its capture with what is still due, or its hold while it stands.
SELECT a.id, a.currency,
       CASE WHEN c.state IN ('requested', 'succeeded') THEN c.amount_minor + c.receivable_minor
            WHEN a.state IN ('voided', 'failed') THEN 0
            ELSE a.hold_minor END AS amount_minor
FROM unnest(:shards::smallint[], :ids::uuid[]) AS wanted (shard, id)
JOIN gateway.payment_authorization a ON a.shard = wanted.shard AND a.id = wanted.id
LEFT JOIN gateway.capture c ON c.shard = a.shard AND c.session_id = a.session_id AND c.authorization_id = a.id;
