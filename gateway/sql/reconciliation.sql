-- What the PSP knows by its own refund id; clearing's journal has ours.

-- name: refunds_since
-- One that failed had left before it came back: two movements.
SELECT id, psp_refund, state, amount_minor, currency, finished_at FROM gateway.refund
WHERE state IN ('succeeded', 'failed') AND psp_refund IS NOT NULL AND finished_at >= :since
  AND (finished_at, id) > (:after_at::timestamptz, :after_id::uuid)
ORDER BY finished_at, id LIMIT :limit;
