-- Our side of what the PSP lists: it knows a refund by its own id, clearing's journal by ours.

-- name: refunds_since
-- One that failed was paid out before it was returned: two movements.
SELECT id, psp_refund, state, amount_minor, currency, finished_at FROM gateway.refund
WHERE state IN ('succeeded', 'failed') AND psp_refund IS NOT NULL AND finished_at >= :since
  AND (finished_at, id) > (:after_at::timestamptz, :after_id::uuid)
ORDER BY finished_at, id LIMIT :limit;

-- name: residual_charges_since
-- Charges made off-session, each beside the charge of the capture that it counts to: our books have one entry for both.
SELECT k.answer ->> 'captured' AS charge, c.psp_charge AS capture_charge
FROM gateway.psp_request AS k JOIN gateway.capture AS c ON c.shard = k.shard AND c.session_id = k.session_id
WHERE k.kind = 'residual_charge' AND k.state = 'succeeded' AND k.finished_at >= :since
  AND k.answer ->> 'captured' IS NOT NULL AND c.psp_charge IS NOT NULL;

-- name: refunded_before_clearing
-- What was refunded before clearing: the journal has the rest of the capture, the PSP the whole of it.
SELECT c.session_id, c.psp_charge, c.uncleared_minor, c.currency, c.captured_at
FROM gateway.capture AS c JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
WHERE c.uncleared_minor > 0 AND c.psp_charge IS NOT NULL AND s.state = 'cleared';
