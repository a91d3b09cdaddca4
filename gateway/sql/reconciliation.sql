-- What the PSP knows by its own refund id; clearing's journal has ours.

-- name: refunds_since
SELECT id, psp_refund, amount_minor, currency, finished_at FROM gateway.refund
WHERE state = 'succeeded' AND psp_refund IS NOT NULL AND finished_at >= :since
ORDER BY finished_at, id LIMIT :limit;
