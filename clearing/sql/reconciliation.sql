-- Reconciliation: items of each side, exact matches in one statement, the rest grouped for comparing.

-- name: add_items$
-- A line that is told again, by another statement or in another order, is kept once.
WITH added AS (
    INSERT INTO clearing.reconciliation_item (leg, side, source_id, reference, kind, amount_minor, currency, occurred_on, detail,
        fee_minor, account, recorded_at)
    SELECT leg, side, source_id, reference, kind, amount_minor, currency, occurred_on, detail, fee_minor, account,
        :now::timestamptz
    FROM unnest(:legs::text[], :sides::text[], :sources::text[], :refs::text[], :kinds::text[], :amounts::bigint[],
        :currencies::text[], :days::date[], :details::text[], :fees::bigint[], :accounts::text[])
        AS told (leg, side, source_id, reference, kind, amount_minor, currency, occurred_on, detail, fee_minor, account)
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

-- name: take_room!
-- Sides are hashed and sorted in memory, not on disk; until the transaction ends.
SET LOCAL work_mem = '64MB';

-- name: new_run$
SELECT gen_random_uuid();

-- name: read_captures^
-- Our word on the PSP's balance: captures, disputes and top-ups booked since, each by the PSP's own id, with the PSP's fee
-- as it was posted. A partner's top-up and the platform's own are known by the reference that travels with them.
-- What the PSP has told before, to the same amount and fee, is matched as it comes in: one row less to touch again.
WITH told AS (
    SELECT e.lane, e.subject_id, e.kind, e.reference AS named, e.currency, e.booked_at,
           CASE e.kind WHEN 'capture' THEN e.psp_object_id WHEN 'topup' THEN 'topup:' || e.reference
               WHEN 'partner_funding' THEN 'topup:' || e.reference ELSE e.reference END AS reference,
           CASE e.kind WHEN 'dispute' THEN -e.gross_minor ELSE e.gross_minor END AS amount_minor
    FROM clearing.entry AS e
    WHERE e.booked_at >= :since AND ((e.kind = 'capture' AND e.psp_object_id IS NOT NULL)
        OR e.kind IN ('dispute', 'dispute_won', 'topup', 'partner_funding'))
), fee AS (
    SELECT t.lane, t.subject_id, t.kind, t.reference, t.currency, sum(t.amount_minor)::bigint AS minor
    FROM told JOIN clearing.transfer AS t
      ON (t.lane, t.subject_id, t.kind, t.reference) = (told.lane, told.subject_id, told.kind, told.named)
    WHERE t.debit_account = 'platform:psp:expense' AND t.kind IN ('capture', 'dispute')
    GROUP BY t.lane, t.subject_id, t.kind, t.reference, t.currency
), word AS (
    SELECT told.*, coalesce(fee.minor, 0) AS fee_minor, count(*) OVER (PARTITION BY told.reference, told.currency) AS alike
    FROM told LEFT JOIN fee ON (fee.lane, fee.subject_id, fee.kind, fee.reference, fee.currency)
        = (told.lane, told.subject_id, told.kind, told.named, told.currency)
), open AS (
    SELECT reference, currency, sum(amount_minor) FILTER (WHERE side = 'right') AS amount_minor,
           sum(fee_minor) FILTER (WHERE side = 'right') AS fee_minor, bool_or(side = 'left') AS ours
    FROM clearing.reconciliation_item WHERE leg = 'book_psp' AND matched_at IS NULL GROUP BY reference, currency
), added AS (
    INSERT INTO clearing.reconciliation_item (leg, side, source_id, reference, kind, amount_minor, currency, occurred_on, fee_minor,
        recorded_at, matched_at, match)
    SELECT 'book_psp', 'left', word.kind || ':' || word.subject_id || ':' || word.named, word.reference, word.kind,
        word.amount_minor, word.currency, (word.booked_at AT TIME ZONE 'UTC')::date, word.fee_minor, :now::timestamptz,
        CASE WHEN open.reference IS NOT NULL THEN :now::timestamptz END, CASE WHEN open.reference IS NOT NULL THEN 'exact' END
    FROM word LEFT JOIN open ON (open.reference, open.currency, open.amount_minor, open.fee_minor)
        = (word.reference, word.currency, word.amount_minor, word.fee_minor) AND word.alike = 1 AND NOT open.ours
    ON CONFLICT DO NOTHING RETURNING reference, currency, matched_at
), agreed AS (
    UPDATE clearing.reconciliation_item AS i SET matched_at = :now::timestamptz, match = 'exact'
    FROM added WHERE added.matched_at IS NOT NULL AND i.leg = 'book_psp' AND i.side = 'right' AND i.matched_at IS NULL
      AND (i.reference, i.currency) = (added.reference, added.currency)
    RETURNING 1
)
SELECT (SELECT count(*) FROM added) AS read, (SELECT count(*) FROM added WHERE matched_at IS NOT NULL)
    + (SELECT count(*) FROM agreed) AS matched;

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
       AND sum(CASE side WHEN 'left' THEN fee_minor ELSE -fee_minor END) = 0
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
       coalesce(sum(fee_minor) FILTER (WHERE side = 'left'), 0)::bigint AS left_fee_minor,
       coalesce(sum(fee_minor) FILTER (WHERE side = 'right'), 0)::bigint AS right_fee_minor,
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
-- What a line may pay: open on our side, of its sign, named in its text; without a text, anything no larger than it.
SELECT source_id, reference, amount_minor FROM clearing.reconciliation_item
WHERE matched_at IS NULL AND side = 'left' AND leg = :leg AND currency = :currency AND sign(amount_minor) = sign(:amount_minor::bigint)
  AND (CASE WHEN :text::text = '' THEN abs(amount_minor) <= abs(:amount_minor::bigint)
       ELSE position(reference IN :text::text) > 0 END)
ORDER BY occurred_on DESC, source_id LIMIT :limit;

-- name: match_items!
UPDATE clearing.reconciliation_item SET matched_at = :now::timestamptz, match = 'merged'
WHERE leg = :leg AND matched_at IS NULL
  AND ((side = 'left' AND source_id = ANY(:lefts::text[])) OR (side = 'right' AND source_id = :right_id));

-- name: put_differences!
INSERT INTO clearing.reconciliation_difference AS known (leg, reference, currency, type, amount_minor, since, owner, proposal,
    detail, likely, first_seen_at, last_seen_at, run)
SELECT leg, reference, currency, type, amount_minor, since, owner, proposal, detail, string_to_array(likely, chr(31)),
    :now::timestamptz, :now::timestamptz, :run::uuid
FROM unnest(:legs::text[], :refs::text[], :currencies::text[], :types::text[], :amounts::bigint[], :sinces::date[],
    :owners::text[], :proposals::text[], :details::text[], :likely::text[])
    AS seen (leg, reference, currency, type, amount_minor, since, owner, proposal, detail, likely)
ON CONFLICT (leg, reference, currency) DO UPDATE SET type = excluded.type, amount_minor = excluded.amount_minor,
    since = excluded.since, owner = excluded.owner, proposal = excluded.proposal, detail = excluded.detail,
    likely = excluded.likely, last_seen_at = excluded.last_seen_at, run = excluded.run, resolved_at = NULL;

-- name: resolve_differences$
WITH resolved AS (
    UPDATE clearing.reconciliation_difference SET resolved_at = :now
    WHERE resolved_at IS NULL AND run <> :run RETURNING 1
)
SELECT count(*) FROM resolved;

-- name: differences
-- Open differences in the order of their key, a page at a time.
SELECT id, leg, reference, currency, type, amount_minor, since, owner, proposal, detail, first_seen_at, likely
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

-- name: unbooked
-- Payouts of the PSP that the journal doesn't have yet, and bank lines that settled one: a page.
SELECT i.side, i.source_id, i.reference, i.currency, i.amount_minor, i.match,
       CASE WHEN i.match = 'tolerance' THEN (
           SELECT sum(CASE o.side WHEN 'left' THEN o.amount_minor ELSE -o.amount_minor END)
           FROM clearing.reconciliation_item AS o
           WHERE (o.leg, o.reference, o.currency, o.matched_at) = (i.leg, i.reference, i.currency, i.matched_at)
             AND o.match = 'tolerance')::bigint ELSE 0 END AS missing_minor,
       i.source_id = (SELECT min(o.source_id) FROM clearing.reconciliation_item AS o
           WHERE (o.leg, o.reference, o.currency, o.matched_at) = (i.leg, i.reference, i.currency, i.matched_at)
             AND o.side = 'right') AS bears_missing
FROM clearing.reconciliation_item AS i
WHERE i.leg = 'psp_bank' AND i.booked_at IS NULL AND (i.side = 'left' OR i.matched_at IS NOT NULL)
ORDER BY i.side, i.source_id LIMIT :limit;

-- name: mark_booked!
UPDATE clearing.reconciliation_item AS i SET booked_at = :now::timestamptz
FROM unnest(:sides::text[], :sources::text[]) AS booked (side, source_id)
WHERE i.leg = 'psp_bank' AND (i.side, i.source_id) = (booked.side, booked.source_id) AND i.booked_at IS NULL;

-- name: put_balances$
WITH added AS (
    INSERT INTO clearing.bank_balance (iban, currency, on_day, code, statement_id, sequence, amount_minor, recorded_at)
    SELECT iban, currency, on_day, code, statement_id, sequence, amount_minor, :now::timestamptz
    FROM unnest(:ibans::text[], :currencies::text[], :days::date[], :codes::text[], :statements::text[], :sequences::bigint[],
        :amounts::bigint[]) AS told (iban, currency, on_day, code, statement_id, sequence, amount_minor)
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM added;

-- name: closings
-- Each account's last closing balance, and what was booked since.
WITH closing AS (
    SELECT DISTINCT ON (iban, currency) iban, currency, on_day, amount_minor
    FROM clearing.bank_balance WHERE code = 'CLBD' ORDER BY iban, currency, on_day DESC, sequence DESC NULLS LAST, recorded_at DESC
)
SELECT c.iban, c.currency, c.on_day, c.amount_minor, coalesce(sum(i.amount_minor), 0)::bigint AS after_minor
FROM closing AS c LEFT JOIN clearing.reconciliation_item AS i
    ON i.side = 'right' AND i.leg IN ('book_bank', 'psp_bank') AND i.account = c.iban AND i.currency = c.currency
    AND i.occurred_on > c.on_day
GROUP BY c.iban, c.currency, c.on_day, c.amount_minor ORDER BY c.iban, c.currency;

-- name: statement_gaps
-- Closing balances that do not follow from the one before them and the lines between: each, not only the last.
WITH closing AS (
    SELECT DISTINCT ON (iban, currency, on_day) iban, currency, on_day, amount_minor
    FROM clearing.bank_balance WHERE code = 'CLBD' ORDER BY iban, currency, on_day, sequence DESC NULLS LAST, recorded_at DESC
), pair AS (
    SELECT *, lag(on_day) OVER earlier AS before_on, lag(amount_minor) OVER earlier AS before_minor
    FROM closing WINDOW earlier AS (PARTITION BY iban, currency ORDER BY on_day)
)
SELECT p.iban, p.currency, p.on_day, p.amount_minor, p.before_on, p.before_minor, line.between_minor
FROM pair AS p CROSS JOIN LATERAL (
    SELECT coalesce(sum(i.amount_minor), 0)::bigint AS between_minor FROM clearing.reconciliation_item AS i
    WHERE i.side = 'right' AND i.leg IN ('book_bank', 'psp_bank') AND i.account = p.iban AND i.currency = p.currency
      AND i.occurred_on > p.before_on AND i.occurred_on <= p.on_day) AS line
WHERE p.before_on IS NOT NULL AND p.before_minor + line.between_minor <> p.amount_minor
ORDER BY p.iban, p.currency, p.on_day;

-- name: bank_in_flight
-- What our books have and the bank does not yet, and what the bank has and our books do not, by currency.
SELECT currency, coalesce(sum(amount_minor) FILTER (WHERE side = 'left'), 0)::bigint AS ours_minor,
       coalesce(sum(amount_minor) FILTER (WHERE side = 'right'), 0)::bigint AS theirs_minor
FROM (
    SELECT side, currency, amount_minor FROM clearing.reconciliation_item
    WHERE leg IN ('book_bank', 'psp_bank') AND matched_at IS NULL AND NOT (leg = 'psp_bank' AND side = 'left')
    UNION ALL
    SELECT side, currency, amount_minor FROM clearing.reconciliation_item
    WHERE leg = 'psp_bank' AND side = 'right' AND booked_at IS NULL AND matched_at IS NOT NULL
) AS flying
GROUP BY currency;

-- name: bank_books
SELECT currency, sum(debit_minor - credit_minor)::bigint AS minor FROM clearing.account_delta
WHERE account = 'bank:settlement' GROUP BY currency;

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
