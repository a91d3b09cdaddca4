-- Reconciliation: items of each side, exact matches in one statement, the rest grouped for comparing.

-- name: add_items$
-- A line that is told again, by another statement or in another order, is kept once.
WITH added AS (
    INSERT INTO clearing.reconciliation_item (leg, side, source_id, reference, kind, amount_minor, currency, occurred_on, detail,
        recorded_at)
    SELECT leg, side, source_id, reference, kind, amount_minor, currency, occurred_on, detail, :now::timestamptz
    FROM unnest(:legs::text[], :sides::text[], :sources::text[], :refs::text[], :kinds::text[], :amounts::bigint[],
        :currencies::text[], :days::date[], :details::text[])
        AS told (leg, side, source_id, reference, kind, amount_minor, currency, occurred_on, detail)
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM added;

-- name: read_to$
SELECT read_to FROM clearing.reconciliation_run WHERE name = :name;

-- name: mark_run!
INSERT INTO clearing.reconciliation_run (name, read_to, ran_at) VALUES (:name, :read_to, :ran_at)
ON CONFLICT (name) DO UPDATE SET read_to = greatest(reconciliation_run.read_to, excluded.read_to), ran_at = excluded.ran_at;

-- name: hold_run!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.reconciliation', 0));

-- name: new_run$
SELECT gen_random_uuid();

-- name: read_captures$
-- Our word on the PSP's balance: captures, disputes and transfers booked since, each by the PSP's own id.
WITH told AS (
    SELECT 'book_psp' AS leg, e.kind || ':' || e.subject_id || ':' || e.reference AS source_id,
           CASE WHEN e.kind = 'capture' THEN e.psp_object_id ELSE e.reference END AS reference, e.kind,
           CASE WHEN e.kind IN ('capture', 'dispute_won') THEN e.gross_minor ELSE -e.gross_minor END AS amount_minor,
           e.currency, e.booked_at
    FROM clearing.entry AS e
    WHERE e.booked_at >= :since AND ((e.kind = 'capture' AND e.psp_object_id IS NOT NULL) OR e.kind = 'dispute')
), added AS (
    INSERT INTO clearing.reconciliation_item (leg, side, source_id, reference, kind, amount_minor, currency, occurred_on, recorded_at)
    SELECT leg, 'left', source_id, reference, kind, amount_minor, currency, (booked_at AT TIME ZONE 'UTC')::date, :now::timestamptz
    FROM told ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM added;

-- name: read_payments$
-- Our word on payments: over the PSP by its transfer, over the bank by our end-to-end id; a return is one more movement.
WITH told AS (
    SELECT CASE d.rail WHEN 'psp' THEN 'book_psp' ELSE 'book_bank' END AS leg, 'disbursement:' || d.id AS source_id,
           CASE d.rail WHEN 'psp' THEN d.rail_reference ELSE d.end_to_end_id END AS reference, 'disbursement' AS kind,
           -d.amount_minor AS amount_minor, d.currency, d.finished_at AS at
    FROM clearing.disbursement AS d WHERE d.state IN ('paid', 'returned') AND d.finished_at >= :since
    UNION ALL
    SELECT CASE d.rail WHEN 'psp' THEN 'book_psp' ELSE 'book_bank' END, 'return:' || d.id,
           CASE d.rail WHEN 'psp' THEN d.rail_reference ELSE d.end_to_end_id END, 'return', d.amount_minor, d.currency, d.returned_at
    FROM clearing.disbursement AS d WHERE d.state = 'returned' AND d.returned_at >= :since
), added AS (
    INSERT INTO clearing.reconciliation_item (leg, side, source_id, reference, kind, amount_minor, currency, occurred_on, recorded_at)
    SELECT leg, 'left', source_id, reference, kind, amount_minor, currency, (at AT TIME ZONE 'UTC')::date, :now::timestamptz
    FROM told ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM added;

-- name: count_rows!
-- After a large load the planner must know how much there is, or it joins row by row.
ANALYZE clearing.reconciliation_item;

-- name: match_exact$
-- Both sides of a reference and currency sum to the same: one to one, and one payment that came in parts.
WITH agreed AS (
    SELECT leg, reference, currency FROM clearing.reconciliation_item WHERE matched_at IS NULL
    GROUP BY leg, reference, currency
    HAVING count(*) FILTER (WHERE side = 'left') > 0 AND count(*) FILTER (WHERE side = 'right') > 0
       AND sum(CASE side WHEN 'left' THEN amount_minor ELSE -amount_minor END) = 0
), matched AS (
    UPDATE clearing.reconciliation_item AS i SET matched_at = :now::timestamptz, match = 'exact'
    FROM agreed AS a
    WHERE (i.leg, i.reference, i.currency) = (a.leg, a.reference, a.currency) AND i.matched_at IS NULL
    RETURNING 1
)
SELECT count(*) FROM matched;

-- name: open_groups
-- What is left, in the order of references; a page at a time.
SELECT leg, reference, currency,
       coalesce(sum(amount_minor) FILTER (WHERE side = 'left'), 0)::bigint AS left_minor,
       count(*) FILTER (WHERE side = 'left') AS left_count,
       coalesce(sum(amount_minor) FILTER (WHERE side = 'right'), 0)::bigint AS right_minor,
       count(*) FILTER (WHERE side = 'right') AS right_count,
       min(occurred_on) AS since, array_agg(DISTINCT kind ORDER BY kind) AS kinds, left(min(detail), 200) AS detail,
       (SELECT count(*) FROM clearing.reconciliation_item AS m
        WHERE m.leg = i.leg AND m.reference = i.reference AND m.matched_at IS NOT NULL) AS matched
FROM clearing.reconciliation_item AS i
WHERE matched_at IS NULL AND (leg, reference) IN (
    SELECT DISTINCT leg, reference FROM clearing.reconciliation_item
    WHERE matched_at IS NULL AND (leg, reference) > (:leg, :reference)
    ORDER BY leg, reference LIMIT :limit)
GROUP BY leg, reference, currency ORDER BY leg, reference, currency;

-- name: match_groups!
UPDATE clearing.reconciliation_item AS i SET matched_at = :now::timestamptz, match = :how
FROM unnest(:legs::text[], :refs::text[], :currencies::text[]) AS agreed (leg, reference, currency)
WHERE (i.leg, i.reference, i.currency) = (agreed.leg, agreed.reference, agreed.currency) AND i.matched_at IS NULL;

-- name: unknown_lines
-- Lines that bear no reference of ours, oldest first: each may pay several of our items at once.
SELECT leg, source_id, reference, amount_minor, currency, detail FROM clearing.reconciliation_item
WHERE matched_at IS NULL AND side = 'right' AND starts_with(reference, 'line:')
ORDER BY occurred_on, source_id LIMIT :limit;

-- name: candidates
SELECT source_id, reference, amount_minor FROM clearing.reconciliation_item
WHERE matched_at IS NULL AND side = 'left' AND leg = :leg AND currency = :currency AND sign(amount_minor) = sign(:amount_minor::bigint)
  AND (:text::text = '' OR position(reference IN :text::text) > 0)
ORDER BY occurred_on, source_id LIMIT :limit;

-- name: match_items!
UPDATE clearing.reconciliation_item SET matched_at = :now::timestamptz, match = 'merged'
WHERE leg = :leg AND matched_at IS NULL
  AND ((side = 'left' AND source_id = ANY(:lefts::text[])) OR (side = 'right' AND source_id = :right_id));

-- name: put_differences!
INSERT INTO clearing.reconciliation_difference AS known (leg, reference, currency, type, amount_minor, since, owner, proposal,
    detail, first_seen_at, last_seen_at, run)
SELECT leg, reference, currency, type, amount_minor, since, owner, proposal, detail, :now::timestamptz, :now::timestamptz,
    :run::uuid
FROM unnest(:legs::text[], :refs::text[], :currencies::text[], :types::text[], :amounts::bigint[], :sinces::date[],
    :owners::text[], :proposals::text[], :details::text[])
    AS seen (leg, reference, currency, type, amount_minor, since, owner, proposal, detail)
ON CONFLICT (leg, reference, currency) DO UPDATE SET type = excluded.type, amount_minor = excluded.amount_minor,
    since = excluded.since, owner = excluded.owner, proposal = excluded.proposal, detail = excluded.detail,
    last_seen_at = excluded.last_seen_at, run = excluded.run, resolved_at = NULL;

-- name: resolve_differences$
WITH resolved AS (
    UPDATE clearing.reconciliation_difference SET resolved_at = :now
    WHERE resolved_at IS NULL AND run <> :run RETURNING 1
)
SELECT count(*) FROM resolved;

-- name: differences
-- Open differences in the order of their key, a page at a time.
SELECT leg, reference, currency, type, amount_minor, since, owner, proposal, detail, first_seen_at
FROM clearing.reconciliation_difference
WHERE resolved_at IS NULL AND (leg, reference, currency) > (:leg, :reference, :currency)
ORDER BY leg, reference, currency LIMIT :limit;

-- name: difference_sums
SELECT leg, type, owner, currency, count(*) AS differences, sum(abs(amount_minor))::bigint AS amount_minor, min(since) AS oldest
FROM clearing.reconciliation_difference WHERE resolved_at IS NULL
GROUP BY leg, type, owner, currency ORDER BY leg, type, owner, currency;

-- name: item_counts
SELECT leg, side, count(*) AS items, count(*) FILTER (WHERE matched_at IS NULL) AS open,
       min(occurred_on) FILTER (WHERE matched_at IS NULL) AS oldest_open
FROM clearing.reconciliation_item GROUP BY leg, side ORDER BY leg, side;

-- name: payment_of^
-- The bank payment of ours that a line speaks of.
SELECT id, amount_minor, currency, state FROM clearing.disbursement WHERE end_to_end_id = :end_to_end_id AND rail = 'bank';

-- name: to_draw
-- Bank payments that are planned and released, held for this transaction.
SELECT d.id, d.party_id, d.currency, d.amount_minor, d.destination, d.end_to_end_id
FROM clearing.disbursement AS d
WHERE d.rail = 'bank' AND d.state = 'planned' AND d.approvals_needed <= (
    SELECT count(*) FROM clearing.disbursement_approval AS a WHERE a.disbursement_id = d.id)
ORDER BY d.id LIMIT :limit FOR UPDATE OF d SKIP LOCKED;

-- name: insert_file!
INSERT INTO clearing.payment_file (message_id, created_at, content, sha256, payment_count, control_sum)
VALUES (:message_id, :now, :content, :sha256, :payment_count, :control_sum);

-- name: insert_file_items!
INSERT INTO clearing.payment_file_item (disbursement_id, message_id, batch_id)
SELECT id, :message_id, batch_id FROM unnest(:ids::uuid[], :batches::text[]) AS item (id, batch_id);

-- name: request_drawn!
-- In the bank's hands from here on: only its answer or statement ends them.
UPDATE clearing.disbursement SET state = 'requested', requested_at = :now, attempts = 1
WHERE id = ANY(:ids::uuid[]) AND state = 'planned';

-- name: files_to_send
SELECT message_id, content, sha256 FROM clearing.payment_file WHERE sent_at IS NULL ORDER BY created_at, message_id LIMIT :limit;

-- name: mark_sent!
UPDATE clearing.payment_file SET sent_at = :now WHERE message_id = :message_id AND sent_at IS NULL;

-- name: payments_of_file
SELECT i.disbursement_id, i.batch_id, d.end_to_end_id, d.state
FROM clearing.payment_file_item AS i JOIN clearing.disbursement AS d ON d.id = i.disbursement_id
WHERE i.message_id = :message_id ORDER BY i.disbursement_id;
