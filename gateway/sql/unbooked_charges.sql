-- Money that the PSP has captured and that no capture here records.

-- name: find_known^
-- What is known here of a payment at the PSP: by its id, else by the session that the PSP's record names.
WITH named AS MATERIALIZED (
    SELECT shard, session_id FROM gateway.session_lookup WHERE kind = 'psp_payment' AND foreign_id = :psp_payment::text
    UNION ALL
    SELECT shard, id FROM gateway.session WHERE shard = :shard::smallint AND id = :session_id::uuid
    LIMIT 1
), asked AS MATERIALIZED (
    SELECT r.session_id, r.state IN ('intended', 'unknown') AS is_undecided,
           r.kind = 'residual_charge' AND r.answer ->> 'captured' = :psp_charge::text AS is_booked
    FROM gateway.psp_request AS r WHERE (r.shard, r.session_id) IN (SELECT n.shard, n.session_id FROM named AS n)
), captured AS MATERIALIZED (
    SELECT c.session_id FROM gateway.capture AS c
    WHERE (c.shard, c.session_id) IN (SELECT n.shard, n.session_id FROM named AS n)
      AND c.state = 'succeeded' AND c.psp_charge = :psp_charge::text
)
SELECT n.shard, n.session_id,
       EXISTS (SELECT 1 FROM asked AS r WHERE r.session_id = n.session_id AND r.is_undecided) AS is_undecided,
       EXISTS (SELECT 1 FROM captured AS c WHERE c.session_id = n.session_id)
           OR EXISTS (SELECT 1 FROM asked AS r WHERE r.session_id = n.session_id AND r.is_booked) AS is_booked
FROM named AS n;

-- name: list_unknown_charges
-- Of charges that the PSP lists, those that neither a capture nor a row here has: charge and payment, in pairs.
WITH named AS MATERIALIZED (
    SELECT k.foreign_id AS psp_payment, k.shard, k.session_id FROM gateway.session_lookup AS k
    WHERE k.kind = 'psp_payment' AND k.foreign_id = ANY(:psp_payments::text[])
), captured AS MATERIALIZED (
    SELECT n.psp_payment, c.psp_charge FROM named AS n
    JOIN gateway.capture AS c ON c.shard = n.shard AND c.session_id = n.session_id AND c.psp_charge IS NOT NULL
), charged AS MATERIALIZED (
    SELECT n.psp_payment, r.answer ->> 'captured' AS psp_charge FROM named AS n
    JOIN gateway.psp_request AS r ON r.shard = n.shard AND r.session_id = n.session_id AND r.kind = 'residual_charge'
)
SELECT given.psp_payment
FROM unnest(:psp_payments::text[], :psp_charges::text[]) AS given (psp_payment, psp_charge)
WHERE NOT EXISTS (SELECT 1 FROM gateway.unbooked_charge AS u WHERE u.psp_payment = given.psp_payment)
  AND NOT EXISTS (SELECT 1 FROM captured AS c
                  WHERE c.psp_payment = given.psp_payment AND c.psp_charge = given.psp_charge)
  AND NOT EXISTS (SELECT 1 FROM charged AS r
                  WHERE r.psp_payment = given.psp_payment AND r.psp_charge = given.psp_charge)
ORDER BY given.psp_payment;

-- name: record_charge!
-- Found once, however often it is reported. `decided_by`: what is to be done needs no person.
WITH recorded AS (
    INSERT INTO gateway.unbooked_charge (
        psp_payment, psp_charge, shard, session_id, reason, state, amount_minor, refunded_minor, currency, fee_minor,
        fee_currency, decided_by, decided_at, found_at, updated_at)
    VALUES (:psp_payment::text, :psp_charge::text, :shard::smallint, :session_id::uuid, :reason::text,
            CASE WHEN :decided_by::text IS NULL THEN 'open' ELSE 'adopting' END, :amount_minor::bigint,
            :refunded_minor::bigint, :currency::char(3), :fee_minor::bigint, :fee_currency::char(3), :decided_by::text,
            CASE WHEN :decided_by::text IS NOT NULL THEN :wall_now::timestamptz END, :now::timestamptz, :now::timestamptz)
    ON CONFLICT (psp_payment) DO UPDATE
    SET state = 'adopting', reason = excluded.reason, decided_by = excluded.decided_by, decided_at = excluded.decided_at,
        updated_at = excluded.updated_at
    WHERE unbooked_charge.state = 'open' AND excluded.decided_by IS NOT NULL
    RETURNING shard, psp_payment, decided_by
)
INSERT INTO gateway.task (shard, id, kind, payload, run_at)
SELECT shard, :task_id::uuid, 'settle_unbooked_charge', jsonb_build_object('psp_payment', psp_payment), :wall_now::timestamptz
FROM recorded WHERE decided_by IS NOT NULL;

-- name: is_capture$
-- Whether the charge is the capture of its session.
SELECT EXISTS (
    SELECT 1 FROM gateway.unbooked_charge AS u
    JOIN gateway.capture AS c ON c.shard = u.shard AND c.session_id = u.session_id AND c.psp_charge = u.psp_charge
    WHERE u.psp_payment = :psp_payment AND c.state = 'succeeded');

-- name: list_unsettled_adoptions
-- To be adopted by sessions that have a price, and no task does it: another payment was faster than the adoption.
WITH adopting AS MATERIALIZED (
    SELECT u.shard, u.psp_payment, u.session_id, u.found_at FROM gateway.unbooked_charge AS u WHERE u.state = 'adopting'
), priced AS MATERIALIZED (
    SELECT s.id FROM gateway.session AS s
    WHERE (s.shard, s.id) IN (SELECT u.shard, u.session_id FROM adopting AS u) AND s.price_minor IS NOT NULL
), settling AS MATERIALIZED (
    SELECT t.kind, t.session_id, t.payload ->> 'psp_payment' AS psp_payment FROM gateway.task AS t
    WHERE t.shard IN (SELECT u.shard FROM adopting AS u) AND t.kind IN ('settle_unbooked_charge', 'capture_session')
)
SELECT u.shard, u.psp_payment
FROM adopting AS u JOIN priced AS s ON s.id = u.session_id
WHERE NOT EXISTS (
    SELECT 1 FROM settling AS t
    WHERE (t.kind = 'settle_unbooked_charge' AND t.psp_payment = u.psp_payment)
       OR (t.kind = 'capture_session' AND t.session_id = u.session_id))
ORDER BY u.found_at;

-- name: add_settle_task!
INSERT INTO gateway.task (shard, id, kind, payload, run_at)
VALUES (:shard, :task_id, 'settle_unbooked_charge', jsonb_build_object('psp_payment', :psp_payment::text), :wall_now);

-- name: record_refunded!
-- What the PSP has refunded of it without our asking; all of it: nothing is left to decide.
UPDATE gateway.unbooked_charge
SET refunded_minor = :refunded_minor::bigint, updated_at = :now::timestamptz,
    psp_refund = CASE WHEN :refunded_minor::bigint = amount_minor THEN :psp_refund::text ELSE psp_refund END,
    state = CASE WHEN :refunded_minor::bigint = amount_minor THEN 'refunded' ELSE state END,
    decided_by = CASE WHEN :refunded_minor::bigint = amount_minor THEN coalesce(decided_by, 'psp') ELSE decided_by END
WHERE psp_payment = :psp_payment::text AND state IN ('open', 'adopting');

-- name: load_charge^
SELECT * FROM gateway.unbooked_charge WHERE psp_payment = :psp_payment;

-- name: lock_charge^
SELECT * FROM gateway.unbooked_charge WHERE psp_payment = :psp_payment FOR UPDATE;

-- name: adopting_of_session^
-- What a person has decided to adopt for a session; it waited for the session's price.
SELECT psp_payment FROM gateway.unbooked_charge
WHERE shard = :shard AND session_id = :session_id AND state = 'adopting'
ORDER BY found_at LIMIT 1;

-- name: decide!
-- A person's decision, with the task that carries it out.
WITH decided AS (
    UPDATE gateway.unbooked_charge
    SET state = :state::text, decided_by = :by::text, decided_at = :wall_now::timestamptz, refund_id = :refund_id::uuid,
        detail = '', updated_at = :now::timestamptz
    WHERE psp_payment = :psp_payment::text
    RETURNING shard, psp_payment
)
INSERT INTO gateway.task (shard, id, kind, payload, run_at)
SELECT shard, :task_id::uuid, 'settle_unbooked_charge', jsonb_build_object('psp_payment', psp_payment), :wall_now::timestamptz
FROM decided WHERE :state::text <> 'left';

-- name: end_charge!
-- It was carried out, or failed and is open again with the reason.
UPDATE gateway.unbooked_charge
SET state = :state::text, psp_refund = coalesce(:psp_refund::text, psp_refund), detail = :detail::text,
    updated_at = :now::timestamptz
WHERE psp_payment = :psp_payment::text AND state = ANY(:from_states::text[]);

-- name: reopen_charge!
-- The card's bank sent a refund of it back: a person decides again, about what is not refunded otherwise. None was sent
-- back since where all of it is refunded.
UPDATE gateway.unbooked_charge
SET state = 'open', refunded_minor = :refunded_minor::bigint, detail = :detail::text, updated_at = :now::timestamptz
WHERE psp_payment = :psp_payment::text AND state = 'refunded' AND amount_minor > :refunded_minor::bigint;

-- name: rebuild_session$
-- A session that is not known here, from the PSP's record of its payment: without an active authorization, as after a
-- release, so that its CDR completes it. No row: a session of that id or name is there.
WITH snapshot AS (
    INSERT INTO gateway.tariff_snapshot (sha256, version, canonical, currency, created_at)
    VALUES (:tariff_sha256::text, :tariff_version::text, :tariff_canonical::bytea, :currency::char(3), :now::timestamptz)
    ON CONFLICT (sha256) DO NOTHING
), rebuilt AS (
    INSERT INTO gateway.session (
        shard, id, demand_partner_id, cpo_id, evse_id, location_id, session_ref, tax_jurisdiction, time_zone, currency,
        tariff_sha256, state, flags, created_at, updated_at, evse_uid, evse_power_w, power_type)
    VALUES (:shard::smallint, :session_id::uuid, :party_id::text, :cpo_id::text, :evse_id::text, :location_id::text,
            :session_ref::text, :tax_jurisdiction::text, :time_zone::text, :currency::char(3), :tariff_sha256::text,
            'cancelled', ARRAY['rebuilt_from_psp'], :authorized_at::timestamptz, :now::timestamptz, :evse_uid::text,
            :evse_power_w::bigint, :power_type::text)
    ON CONFLICT (shard, id) DO NOTHING
    RETURNING shard, id
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
    SELECT named.kind, named.foreign_id, rebuilt.shard, rebuilt.id
    FROM rebuilt, (VALUES ('session_ref', :session_name::text), ('psp_payment', :psp_payment::text)) AS named (kind, foreign_id)
    WHERE named.foreign_id IS NOT NULL
    ON CONFLICT (kind, foreign_id) DO UPDATE SET shard = excluded.shard, session_id = excluded.session_id
    WHERE session_lookup.kind = 'psp_payment'
)
SELECT true FROM rebuilt;

-- name: adopt_charge$
-- The charge becomes the capture of its session, which has a price and no other payment: an authorization that is
-- captured, and the capture. The session goes to clearing next (retry_clearing), by a task that outlives this process.
-- No row: another payment was faster, or the decision was changed; the caller rolls back what was written.
WITH chosen AS (
    SELECT psp_payment FROM gateway.unbooked_charge
    WHERE psp_payment = :psp_payment::text AND state = 'adopting' AND refunded_minor = 0
    FOR UPDATE
), priced AS (
    UPDATE gateway.session SET state = 'exception', updated_at = :now::timestamptz, exception_at = :now::timestamptz
    FROM chosen
    WHERE shard = :shard::smallint AND id = :session_id::uuid AND state IN ('completed', 'exception')
      AND price_minor = :price_minor::bigint
    RETURNING shard, id, currency
), opened AS (
    INSERT INTO gateway.payment_authorization (
        shard, id, session_id, party_id, authorization_method, funding, state, hold_minor, currency, payment_method, customer,
        psp_payment, metadata, created_at, updated_at)
    SELECT shard, :authorization_id::uuid, id, :party_id::text, :authorization_method::text, 'psp', 'captured',
           :amount_minor::bigint, currency, :payment_method::text, :customer::text, :psp_payment::text, :metadata::jsonb,
           :now::timestamptz, :now::timestamptz
    FROM priced
    RETURNING shard, id, session_id, currency
), captured AS (
    INSERT INTO gateway.capture (
        shard, session_id, id, authorization_id, state, amount_minor, receivable_minor, currency, psp_charge, fee_minor,
        fee_currency, captured_at, created_at)
    SELECT shard, session_id, :capture_id::uuid, id, 'succeeded', :amount_minor::bigint, :receivable_minor::bigint, currency,
           :psp_charge::text, :fee_minor::bigint, :fee_currency::char(3), :now::timestamptz, :now::timestamptz
    FROM opened
    ON CONFLICT (shard, session_id) DO UPDATE
    SET authorization_id = excluded.authorization_id, state = excluded.state, amount_minor = excluded.amount_minor,
        receivable_minor = excluded.receivable_minor, psp_charge = excluded.psp_charge, fee_minor = excluded.fee_minor,
        fee_currency = excluded.fee_currency, captured_at = excluded.captured_at
    WHERE capture.state = 'failed'
    RETURNING shard, session_id
), done AS (
    DELETE FROM gateway.task AS t USING captured
    WHERE t.shard = :shard::smallint AND t.session_id = captured.session_id AND t.kind = 'capture_session'
), left_to_do AS (
    INSERT INTO gateway.task (shard, id, kind, payload, run_at)
    SELECT shard, :task_id::uuid, 'settle_unbooked_charge', jsonb_build_object('psp_payment', :psp_payment::text),
           :wall_now::timestamptz
    FROM captured
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
    SELECT 'psp_payment', :psp_payment::text, shard, session_id FROM captured
    ON CONFLICT DO NOTHING
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM captured, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT true FROM captured;

-- name: list_refunded
-- What came and went at the PSP without ever being ours: both movements are known to the comparison of the books.
SELECT * FROM gateway.unbooked_charge
WHERE state = 'refunded' AND updated_at >= :since;

-- name: totals
-- By currency: captured at the PSP and in no capture here, what was refunded of it, and what of both the ledger lacks:
-- the amount until it has come and gone, the fee until the refund has booked it. What was left is the reconciliation's.
WITH found AS MATERIALIZED (
    SELECT u.*, CASE WHEN u.state = 'refunded' THEN u.amount_minor ELSE u.refunded_minor END AS gone_minor
    FROM gateway.unbooked_charge AS u WHERE u.state <> 'adopted'
), booked AS MATERIALIZED (
    SELECT c.session_id, c.psp_charge FROM gateway.capture AS c
    WHERE (c.shard, c.session_id) IN (SELECT u.shard, u.session_id FROM found AS u) AND c.state = 'succeeded'
), above AS MATERIALIZED (  -- the price of a session that is cleared, and not refunded, or the bank sent the refund back
    SELECT c.currency, c.uncleared_minor - coalesce(sum(r.unposted_minor), 0)::bigint AS unposted
    FROM gateway.capture AS c
    JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id AND s.state = 'cleared'
    LEFT JOIN gateway.refund AS r ON r.shard = c.shard AND r.session_id = c.session_id AND r.state <> 'failed'
    WHERE c.uncleared_minor > 0
    GROUP BY c.shard, c.session_id, c.currency, c.uncleared_minor
), unbooked AS (
    SELECT u.* FROM found AS u
    WHERE NOT EXISTS (SELECT 1 FROM booked AS c WHERE c.session_id = u.session_id AND c.psp_charge = u.psp_charge)
), moved AS (
    SELECT currency, amount_minor AS captured,
           CASE WHEN state = 'refunding' THEN amount_minor ELSE gone_minor END AS refunded,
           CASE WHEN state = 'left' THEN 0 ELSE amount_minor - gone_minor END AS unposted, 0 AS fee,
           (state IN ('open', 'adopting', 'refunding'))::integer AS waiting
    FROM unbooked
    UNION ALL
    SELECT fee_currency, 0, 0, 0, fee_minor, 0 FROM unbooked
    WHERE fee_minor > 0 AND state <> 'left' AND psp_refund IS NULL
    UNION ALL
    SELECT a.currency, 0, 0, a.unposted, 0, 0 FROM above AS a
)
SELECT currency, sum(captured)::bigint AS captured, sum(refunded)::bigint AS refunded, sum(unposted)::bigint AS unposted,
       sum(fee)::bigint AS fee, sum(waiting)::integer AS waiting
FROM moved GROUP BY currency ORDER BY currency;
