-- The books in a few figures.

-- name: captures
SELECT currency, sum(gross_minor)::bigint AS gross_minor, count(*) AS entries
FROM clearing.entry WHERE kind = 'capture' GROUP BY currency ORDER BY currency;

-- name: open_sums
-- A payable that is tied to a disbursement is paid once its disbursement is.
SELECT p.currency, sum(p.amount_minor)::bigint AS amount_minor
FROM clearing.payable AS p LEFT JOIN clearing.disbursement AS d ON d.id = p.disbursement_id
WHERE d.state IS DISTINCT FROM 'paid' GROUP BY p.currency ORDER BY p.currency;

-- name: share_sums
SELECT party_id, currency, sum(amount_minor)::bigint AS amount_minor FROM clearing.payable
GROUP BY party_id, currency ORDER BY party_id, currency;

-- name: paid_sums
SELECT currency, sum(amount_minor)::bigint AS amount_minor FROM clearing.disbursement
WHERE state = 'paid' GROUP BY currency ORDER BY currency;

-- name: sessions_in_exception$
SELECT count(*) FROM clearing.session_exception WHERE resolved_at IS NULL;
