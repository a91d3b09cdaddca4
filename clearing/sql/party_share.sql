-- What parties earned in a range of time, and between which accounts money moved.

-- name: shares
SELECT p.party_id, p.currency, sum(p.amount_minor)::bigint AS amount_minor, count(*) AS sessions
FROM clearing.entry AS e
JOIN clearing.payable AS p
  ON p.shard = e.shard AND p.subject_id = e.subject_id AND p.kind = e.kind AND p.reference = e.reference
WHERE e.booked_at >= :since AND e.booked_at < :until AND (:party_id::text IS NULL OR p.party_id = :party_id)
GROUP BY p.party_id, p.currency ORDER BY amount_minor DESC, p.party_id;

-- name: flows
SELECT t.debit_account, t.credit_account, t.currency, sum(t.amount_minor)::bigint AS amount_minor
FROM clearing.entry AS e
JOIN clearing.transfer AS t
  ON t.shard = e.shard AND t.subject_id = e.subject_id AND t.kind = e.kind AND t.reference = e.reference
WHERE e.booked_at >= :since AND e.booked_at < :until AND e.kind = 'capture'
GROUP BY t.debit_account, t.credit_account, t.currency;
