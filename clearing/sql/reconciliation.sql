-- Reconciliation: items of each side, exact matches in one statement, the rest grouped for comparison.

-- name: add_items$
-- A line that is reported again, by another statement or in another order, is stored once.
WITH added AS (
    INSERT INTO clearing.reconciliation_item (pair, side, source_id, reference, kind, amount_minor, currency, occurred_on, detail,
        fee_minor, account, recorded_at)
    SELECT pair, side, source_id, reference, kind, amount_minor, currency, occurred_on, detail, fee_minor, account,
        :now::timestamptz
    FROM unnest(:pairs::text[], :sides::text[], :sources::text[], :refs::text[], :kinds::text[], :amounts::bigint[],
        :currencies::text[], :days::date[], :details::text[], :fees::bigint[], :accounts::text[])
        AS reported (pair, side, source_id, reference, kind, amount_minor, currency, occurred_on, detail, fee_minor, account)
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM added;

-- name: withdraw_bank_lines
-- A line that stood for a whole entry gives way to the entry's transactions, unless it has been matched or booked.
DELETE FROM clearing.reconciliation_item
WHERE pair IN ('book_bank', 'psp_bank') AND side = 'right' AND source_id = ANY(:ids::text[]) AND matched_at IS NULL AND booked_at IS NULL
RETURNING source_id;

-- name: read_to$
SELECT read_to FROM clearing.reconciliation_run WHERE name = :name;

-- name: mark_run!
INSERT INTO clearing.reconciliation_run (name, read_to, ran_at) VALUES (:name, :read_to, :ran_at)
ON CONFLICT (name) DO UPDATE SET read_to = greatest(reconciliation_run.read_to, excluded.read_to), ran_at = excluded.ran_at;

-- name: lock_run!
SELECT pg_advisory_xact_lock(hashtextextended('clearing.reconciliation', 0));

-- name: raise_work_mem!
-- Sides are hashed and sorted in memory, not on disk, until the transaction ends.
SET LOCAL work_mem = '64MB';

-- name: new_run$
SELECT gen_random_uuid();

-- name: read_captures^
-- Our side of the PSP's balance: captures, disputes and top-ups booked since, each by the PSP's own id, with the PSP's
-- fee as posted. Where the PSP converted, its conversion is an item in the settlement currency, and so is a fee in another
-- currency than its entry's. A partner's top-up and the platform's own are identified by the reference sent with them.
-- An item that the PSP has already reported with the same amount and fee is matched at once: one row less to update.
WITH booked AS (
    SELECT e.shard, e.subject_id, e.kind, e.reference AS entry_reference, e.currency, e.booked_at,
           CASE e.kind WHEN 'capture' THEN e.psp_object_id WHEN 'topup' THEN 'topup:' || e.reference
               WHEN 'topup_reversed' THEN 'topup:' || e.reference WHEN 'partner_funding' THEN 'topup:' || e.reference
               WHEN 'dispute' THEN split_part(e.reference, '/fee/', 1) ELSE e.reference END AS reference,
           CASE WHEN e.kind IN ('dispute', 'topup_reversed') THEN -e.gross_minor ELSE e.gross_minor END AS amount_minor
    FROM clearing.entry AS e
    WHERE e.booked_at >= :since AND ((e.kind = 'capture' AND e.psp_object_id IS NOT NULL)
        OR e.kind IN ('dispute', 'dispute_won', 'topup', 'topup_reversed', 'partner_funding'))
), fee AS (
    SELECT t.shard, t.subject_id, t.kind, t.reference, t.currency,
           sum(CASE t.debit_account WHEN 'platform:psp:expense' THEN t.amount_minor ELSE -t.amount_minor END)::bigint AS minor
    FROM booked JOIN clearing.transfer AS t
      ON (t.shard, t.subject_id, t.kind, t.reference) = (booked.shard, booked.subject_id, booked.kind, booked.entry_reference)
    WHERE t.kind IN ('capture', 'dispute')
      AND (t.debit_account, t.credit_account) IN (('platform:psp:expense', 'psp:stripe:receivable'),
        ('psp:stripe:receivable', 'platform:psp:expense'))
    GROUP BY t.shard, t.subject_id, t.kind, t.reference, t.currency
), moved AS (
    SELECT booked.*, coalesce(fee.minor, 0) AS fee_minor
    FROM booked LEFT JOIN fee ON (fee.shard, fee.subject_id, fee.kind, fee.reference, fee.currency)
        = (booked.shard, booked.subject_id, booked.kind, booked.entry_reference, booked.currency)
    UNION ALL
    SELECT booked.shard, booked.subject_id, booked.kind || '_fee', booked.entry_reference, fee.currency, booked.booked_at,
           booked.reference, 0, fee.minor
    FROM booked JOIN fee ON (fee.shard, fee.subject_id, fee.kind, fee.reference)
        = (booked.shard, booked.subject_id, booked.kind, booked.entry_reference) AND fee.currency <> booked.currency
    UNION ALL
    SELECT e.shard, e.subject_id, e.kind, e.reference, t.currency, e.booked_at, e.reference,
           sum(CASE t.debit_account WHEN 'psp:stripe:receivable' THEN t.amount_minor ELSE -t.amount_minor END)::bigint, 0
    FROM clearing.entry AS e JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)
    WHERE e.booked_at >= :since AND e.kind = 'psp_conversion' AND t.currency <> e.currency
      AND 'psp:stripe:receivable' IN (t.debit_account, t.credit_account)
    GROUP BY e.shard, e.subject_id, e.kind, e.reference, t.currency, e.booked_at
), item AS (
    SELECT moved.*, count(*) OVER (PARTITION BY reference, currency) AS items_of_reference FROM moved
), open_group AS (
    SELECT reference, currency, sum(amount_minor) FILTER (WHERE side = 'right') AS amount_minor,
           sum(fee_minor) FILTER (WHERE side = 'right') AS fee_minor, bool_or(side = 'left') AS has_left
    FROM clearing.reconciliation_item WHERE pair = 'book_psp' AND matched_at IS NULL GROUP BY reference, currency
), added AS (
    INSERT INTO clearing.reconciliation_item (pair, side, source_id, reference, kind, amount_minor, currency, occurred_on, fee_minor,
        recorded_at, matched_at, match)
    SELECT 'book_psp', 'left', item.kind || ':' || item.subject_id || ':' || item.entry_reference, item.reference, item.kind,
        item.amount_minor, item.currency, (item.booked_at AT TIME ZONE 'UTC')::date, item.fee_minor, :now::timestamptz,
        CASE WHEN open_group.reference IS NOT NULL THEN :now::timestamptz END, CASE WHEN open_group.reference IS NOT NULL THEN 'exact' END
    FROM item LEFT JOIN open_group
        ON (open_group.reference, open_group.currency, open_group.amount_minor, open_group.fee_minor)
        = (item.reference, item.currency, item.amount_minor, item.fee_minor) AND item.items_of_reference = 1 AND NOT open_group.has_left
    ON CONFLICT DO NOTHING RETURNING reference, currency, matched_at
), agreed AS (
    UPDATE clearing.reconciliation_item AS i SET matched_at = :now::timestamptz, match = 'exact'
    FROM added WHERE added.matched_at IS NOT NULL AND i.pair = 'book_psp' AND i.side = 'right' AND i.matched_at IS NULL
      AND (i.reference, i.currency) = (added.reference, added.currency)
    RETURNING 1
)
SELECT (SELECT count(*) FROM added) AS read, (SELECT count(*) FROM added WHERE matched_at IS NOT NULL)
    + (SELECT count(*) FROM agreed) AS matched;

-- name: read_disbursements$
-- Our side of disbursements: over the PSP by its transfer, over the bank by our end-to-end id; a return is an item of its own.
WITH booked AS (
    SELECT CASE d.rail WHEN 'psp' THEN 'book_psp' ELSE 'book_bank' END AS pair, 'disbursement:' || d.id AS source_id,
           CASE d.rail WHEN 'psp' THEN d.rail_reference ELSE d.end_to_end_id END AS reference, 'disbursement' AS kind,
           -d.amount_minor AS amount_minor, d.currency, d.finished_at AS at
    FROM clearing.disbursement AS d WHERE d.state IN ('paid', 'returned') AND d.finished_at >= :since
    UNION ALL
    SELECT CASE d.rail WHEN 'psp' THEN 'book_psp' ELSE 'book_bank' END, 'return:' || d.id,
           CASE d.rail WHEN 'psp' THEN d.rail_reference ELSE d.end_to_end_id END, 'return', d.amount_minor, d.currency, d.returned_at
    FROM clearing.disbursement AS d WHERE d.state = 'returned' AND d.returned_at >= :since
), added AS (
    INSERT INTO clearing.reconciliation_item (pair, side, source_id, reference, kind, amount_minor, currency, occurred_on, recorded_at)
    SELECT pair, 'left', source_id, reference, kind, amount_minor, currency, (at AT TIME ZONE 'UTC')::date, :now::timestamptz
    FROM booked ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM added;

-- name: analyze_items!
-- After a large load the planner needs new statistics, or it joins row by row.
ANALYZE clearing.reconciliation_item;

-- name: match_exact$
-- Both sides of a reference and currency have the same sum: one to one, or one movement in several parts.
WITH agreed AS (
    SELECT pair, reference, currency FROM clearing.reconciliation_item WHERE matched_at IS NULL
    GROUP BY pair, reference, currency
    HAVING count(*) FILTER (WHERE side = 'left') > 0 AND count(*) FILTER (WHERE side = 'right') > 0
       AND sum(CASE side WHEN 'left' THEN amount_minor ELSE -amount_minor END) = 0
       AND sum(CASE side WHEN 'left' THEN fee_minor ELSE -fee_minor END) = 0
), matched AS (
    UPDATE clearing.reconciliation_item AS i SET matched_at = :now::timestamptz, match = 'exact'
    FROM agreed AS a
    WHERE (i.pair, i.reference, i.currency) = (a.pair, a.reference, a.currency) AND i.matched_at IS NULL
    RETURNING 1
)
SELECT count(*) FROM matched;

-- name: open_groups
-- What is left, in the order of references; a page at a time.
SELECT pair, reference, currency,
       coalesce(sum(amount_minor) FILTER (WHERE side = 'left'), 0)::bigint AS left_minor,
       count(*) FILTER (WHERE side = 'left') AS left_count,
       coalesce(sum(amount_minor) FILTER (WHERE side = 'right'), 0)::bigint AS right_minor,
       count(*) FILTER (WHERE side = 'right') AS right_count,
       coalesce(sum(fee_minor) FILTER (WHERE side = 'left'), 0)::bigint AS left_fee_minor,
       coalesce(sum(fee_minor) FILTER (WHERE side = 'right'), 0)::bigint AS right_fee_minor,
       min(occurred_on) AS since, array_agg(DISTINCT kind ORDER BY kind) AS kinds, left(min(detail), 200) AS detail,
       (SELECT count(*) FROM clearing.reconciliation_item AS m
        WHERE m.pair = i.pair AND m.reference = i.reference AND m.matched_at IS NOT NULL) AS matched
FROM clearing.reconciliation_item AS i
WHERE matched_at IS NULL AND (pair, reference) IN (
    SELECT DISTINCT pair, reference FROM clearing.reconciliation_item
    WHERE matched_at IS NULL AND (pair, reference) > (:pair, :reference)
    ORDER BY pair, reference LIMIT :limit)
GROUP BY pair, reference, currency ORDER BY pair, reference, currency;

-- name: match_groups!
UPDATE clearing.reconciliation_item AS i SET matched_at = :now::timestamptz, match = :how
FROM unnest(:pairs::text[], :refs::text[], :currencies::text[]) AS agreed (pair, reference, currency)
WHERE (i.pair, i.reference, i.currency) = (agreed.pair, agreed.reference, agreed.currency) AND i.matched_at IS NULL;

-- name: unknown_lines
-- Lines without a reference of ours, the oldest first: each may pay several of our items at once.
SELECT pair, source_id, reference, amount_minor, currency, detail FROM clearing.reconciliation_item
WHERE matched_at IS NULL AND side = 'right' AND starts_with(reference, 'line:')
ORDER BY occurred_on, source_id LIMIT :limit;

-- name: candidates
-- Items that a line may pay: open on our side, of its sign, named in its text; without a text, any that are not larger.
SELECT source_id, reference, amount_minor FROM clearing.reconciliation_item
WHERE matched_at IS NULL AND side = 'left' AND pair = :pair AND currency = :currency AND sign(amount_minor) = sign(:amount_minor::bigint)
  AND (CASE WHEN :text::text = '' THEN abs(amount_minor) <= abs(:amount_minor::bigint)
       ELSE position(reference IN :text::text) > 0 END)
ORDER BY occurred_on DESC, source_id LIMIT :limit;

-- name: match_items!
UPDATE clearing.reconciliation_item SET matched_at = :now::timestamptz, match = 'merged'
WHERE pair = :pair AND matched_at IS NULL
  AND ((side = 'left' AND source_id = ANY(:lefts::text[])) OR (side = 'right' AND source_id = :right_id));

-- name: put_differences!
INSERT INTO clearing.reconciliation_difference AS known (pair, reference, currency, type, amount_minor, since, owner, proposal,
    detail, candidates, first_seen_at, last_seen_at, run)
SELECT pair, reference, currency, type, amount_minor, since, owner, proposal, detail, string_to_array(candidates, chr(31)),
    :now::timestamptz, :now::timestamptz, :run::uuid
FROM unnest(:pairs::text[], :refs::text[], :currencies::text[], :types::text[], :amounts::bigint[], :sinces::date[],
    :owners::text[], :proposals::text[], :details::text[], :candidates::text[])
    AS found (pair, reference, currency, type, amount_minor, since, owner, proposal, detail, candidates)
ON CONFLICT (pair, reference, currency) DO UPDATE SET type = excluded.type, amount_minor = excluded.amount_minor,
    since = excluded.since, owner = excluded.owner, proposal = excluded.proposal, detail = excluded.detail,
    candidates = excluded.candidates, last_seen_at = excluded.last_seen_at, run = excluded.run, resolved_at = NULL;

-- name: resolve_differences$
WITH resolved AS (
    UPDATE clearing.reconciliation_difference SET resolved_at = :now
    WHERE resolved_at IS NULL AND run <> :run RETURNING 1
)
SELECT count(*) FROM resolved;

-- name: differences
-- Open differences in the order of their key, a page at a time.
SELECT id, pair, reference, currency, type, amount_minor, since, owner, proposal, detail, first_seen_at, candidates
FROM clearing.reconciliation_difference
WHERE resolved_at IS NULL AND (pair, reference, currency) > (:pair, :reference, :currency)
ORDER BY pair, reference, currency LIMIT :limit;

-- name: listed_differences
-- Open differences, or one of any state, each with what its two sides have open; in the order of their key, those after one.
WITH listed AS (
    SELECT id, pair, reference, currency, type, amount_minor, since, owner, proposal, detail, first_seen_at, candidates, resolved_at
    FROM clearing.reconciliation_difference
    WHERE (:id::uuid IS NULL AND resolved_at IS NULL OR id = :id::uuid)
      AND (:owner::text IS NULL OR owner = :owner::text) AND (:of_pair::text IS NULL OR pair = :of_pair::text)
      AND (:since::date IS NULL OR since <= :since::date)
      AND (:after::uuid IS NULL OR (pair, reference, currency) > (
          SELECT a.pair, a.reference, a.currency FROM clearing.reconciliation_difference AS a WHERE a.id = :after::uuid))
    ORDER BY pair, reference, currency LIMIT :limit
)
SELECT listed.*, open.left_minor, open.right_minor FROM listed
LEFT JOIN LATERAL (
    SELECT sum(i.amount_minor) FILTER (WHERE i.side = 'left')::bigint AS left_minor,
           sum(i.amount_minor) FILTER (WHERE i.side = 'right')::bigint AS right_minor
    FROM clearing.reconciliation_item AS i
    WHERE i.pair = listed.pair AND i.reference = listed.reference AND i.currency = listed.currency AND i.matched_at IS NULL
) AS open ON true
ORDER BY listed.pair, listed.reference, listed.currency;

-- name: open_sums
SELECT pair, side, currency, count(*) AS items, sum(amount_minor)::bigint AS amount_minor, min(occurred_on) AS oldest
FROM clearing.reconciliation_item WHERE matched_at IS NULL GROUP BY pair, side, currency ORDER BY pair, side, currency;

-- name: difference_ages
SELECT owner, count(*) AS differences,
       count(*) FILTER (WHERE :today::date - since <= 7) AS up_to_7,
       count(*) FILTER (WHERE :today::date - since BETWEEN 8 AND 30) AS up_to_30,
       count(*) FILTER (WHERE :today::date - since BETWEEN 31 AND 90) AS up_to_90,
       count(*) FILTER (WHERE :today::date - since > 90) AS over_90,
       min(since) AS oldest
FROM clearing.reconciliation_difference WHERE resolved_at IS NULL GROUP BY owner ORDER BY owner;

-- name: item_counts
SELECT pair, side, count(*) AS items, count(*) FILTER (WHERE matched_at IS NULL) AS open,
       min(occurred_on) FILTER (WHERE matched_at IS NULL) AS oldest_open
FROM clearing.reconciliation_item GROUP BY pair, side ORDER BY pair, side;
