-- name: sessions_that_are_over
-- Of the named authorizations, those whose session has its CDR, or no authorization left that could hold.
SELECT a.id
FROM unnest(:lanes::smallint[], :ids::uuid[]) AS named (lane, id)
JOIN gateway.payment_authorization a ON a.lane = named.lane AND a.id = named.id
JOIN gateway.session s ON s.lane = a.lane AND s.id = a.session_id
WHERE s.state <> 'active' OR NOT EXISTS (
    SELECT FROM gateway.payment_authorization other
    WHERE other.lane = s.lane AND other.session_id = s.id AND other.state NOT IN ('voided', 'failed'));
