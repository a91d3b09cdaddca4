-- The phases of a payment in our own tables. Each statement is one atomic phase: what it changes, the tasks it
-- leaves and the events it publishes are committed together. `UPDATE ... WHERE state = ...` guards every step:
-- no row, no effect. A part that is marked `-- elsewhere` has rows beside no session: where a statement runs beside its
-- shard (gateway/shard_statements.py) that part is empty, with the columns that are named there.

-- name: find_session^
-- The session that a foreign name refers to.
SELECT shard, session_id FROM gateway.session_lookup WHERE kind = :kind AND foreign_id = :foreign_id;

-- name: load_session^
SELECT * FROM gateway.session WHERE shard = :shard AND id = :id;

-- name: load_authorization^
SELECT * FROM gateway.payment_authorization WHERE shard = :shard AND id = :id;

-- name: load_capture^
SELECT * FROM gateway.capture WHERE shard = :shard AND session_id = :session_id;

-- name: load_capture_by_id^
SELECT * FROM gateway.capture WHERE shard = :shard AND id = :id;

-- name: current_authorization^
-- The authorization that counts for a session: the active one, else the latest.
SELECT * FROM gateway.payment_authorization
WHERE shard = :shard AND session_id = :session_id
ORDER BY (state NOT IN ('voided', 'failed')) DESC, id DESC
LIMIT 1;

-- name: load_session_with_payment^
-- A session, the authorization that counts for it and its capture, in one row: the columns of each, one after another.
SELECT s.*, a.*, c.* FROM gateway.session AS s
LEFT JOIN LATERAL (
    SELECT * FROM gateway.payment_authorization AS x
    WHERE x.shard = :shard::smallint AND x.session_id = s.id
    ORDER BY (x.state NOT IN ('voided', 'failed')) DESC, x.id DESC
    LIMIT 1
) AS a ON true
LEFT JOIN gateway.capture AS c ON c.shard = s.shard AND c.session_id = s.id
WHERE s.shard = :shard::smallint AND s.id = :id::uuid;

-- name: load_authorization_with_session^
-- An authorization and its session, in one row: the columns of each, one after another.
SELECT a.*, s.* FROM gateway.payment_authorization AS a
JOIN gateway.session AS s ON s.shard = a.shard AND s.id = a.session_id
WHERE a.shard = :shard::smallint AND a.id = :id::uuid;

-- name: open_authorization^
-- Phase 1 of authorize. A new session (unless one of that name exists already), the authorization and, where a PSP
-- holds the amount, the request that is about to be sent. On a partner's account the hold is part of the same
-- statement and there is no request; no row comes back when the account does not cover it, or the payer is not the
-- party's, and nothing is written. The request's Idempotency-Key is claimed with it; nothing else is written where the
-- key is in use.
WITH claimed AS (
    INSERT INTO gateway.idempotency_key (shard, party_id, key, request_hash, resource_id, locked_until, created_at)
    SELECT :shard::smallint, :key_party_id::text, :key::text, :key_request_hash::bytea, :key_resource_id::uuid,
           :key_locked_until::timestamptz, :key_created_at::timestamptz
    WHERE :key::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING 1
), begun AS (
    SELECT 1 WHERE :key::text IS NULL OR EXISTS (SELECT 1 FROM claimed)
), funds AS (  -- elsewhere
    UPDATE gateway.partner_account
    SET held_minor = held_minor + :hold_minor::bigint
    WHERE :funding::text = 'partner_account' AND EXISTS (SELECT 1 FROM begun)
      AND party_id = :account_party_id::text AND currency = :currency::char(3)
      AND balance_minor - held_minor + credit_limit_minor >= :hold_minor::bigint
    RETURNING 1
), known_customer AS (  -- elsewhere: party_id text
    SELECT party_id FROM gateway.customer WHERE psp_customer = :customer::text
), claimed_customer AS (  -- elsewhere: party_id text
    -- A customer that nobody has used here belongs to the first; of two at once, the second waits for the first.
    INSERT INTO gateway.customer (id, party_id, psp_customer, created_at)
    SELECT :customer_id::uuid, :party_id::text, :customer::text, :now::timestamptz
    WHERE :customer::text IS NOT NULL AND NOT EXISTS (SELECT 1 FROM known_customer)
      AND EXISTS (SELECT 1 FROM begun)
    ON CONFLICT (psp_customer) DO UPDATE SET party_id = customer.party_id WHERE customer.party_id = excluded.party_id
    RETURNING party_id
), other_payer AS (  -- elsewhere
    SELECT 1 FROM gateway.payment_method
    WHERE psp_method = :payment_method::text AND (party_id <> :party_id::text OR removed_at IS NOT NULL)
), payer AS (
    -- Another party's customer or saved payment method is as unknown as one that does not exist; a removed one too.
    SELECT 1 FROM begun
    WHERE (:customer::text IS NULL
           OR EXISTS (SELECT 1 FROM known_customer WHERE party_id = :party_id::text)
           OR EXISTS (SELECT 1 FROM claimed_customer))
      AND NOT EXISTS (SELECT 1 FROM other_payer)
), policy AS (  -- elsewhere: within_s integer
    SELECT within_s FROM gateway.double_tap_policy WHERE party_id = :party_id::text
), protection AS (
    -- For how long the same method at the same EVSE is not held again; 0: it is.
    SELECT CASE WHEN :reuses_recent::boolean THEN coalesce((SELECT within_s FROM policy), :default_within_s::int)
        ELSE 0 END AS within_s
), tap AS (  -- elsewhere
    -- Of two at once, the second waits for the first one's row. `replaced` is an authorization that has ended.
    INSERT INTO gateway.recent_authorization AS t (party_id, payment_method, evse_id, authorization_id, authorized_at)
    SELECT :party_id::text, :payment_method::text, upper(:evse_id::text), :authorization_id::uuid, :now::timestamptz
    FROM payer, protection
    WHERE protection.within_s > 0
    ON CONFLICT (party_id, payment_method, evse_id) DO UPDATE
    SET authorization_id = excluded.authorization_id, authorized_at = excluded.authorized_at
    WHERE t.authorization_id = :replaced_id::uuid
       OR t.authorized_at <= excluded.authorized_at - make_interval(secs => (SELECT within_s FROM protection))
       OR t.authorized_at > excluded.authorized_at
    RETURNING 1
), allowed AS (
    SELECT 1 FROM funds
    UNION ALL
    SELECT 1 FROM payer, protection
    WHERE :funding::text = 'psp' AND (protection.within_s = 0 OR EXISTS (SELECT 1 FROM tap))
), snapshot AS (  -- elsewhere
    INSERT INTO gateway.tariff_snapshot (sha256, version, canonical, currency, created_at)
    SELECT :tariff_sha256::text, :tariff_version::text, :tariff_canonical::bytea, :currency::char(3), :now::timestamptz
    FROM allowed
    ON CONFLICT (sha256) DO NOTHING
), charging AS (
    INSERT INTO gateway.session (
        shard, id, demand_partner_id, cpo_id, evse_id, location_id, session_ref, tax_jurisdiction, time_zone, currency,
        tariff_sha256, state, flags, metadata, created_at, updated_at, evse_uid, evse_power_w, power_type)
    SELECT :shard::smallint, :session_id::uuid, :party_id::text, :cpo_id::text, :evse_id::text, :location_id::text,
           :session_ref::text, :tax_jurisdiction::text, :time_zone::text, :currency::char(3), :tariff_sha256::text,
           'active', :flags::text[], :metadata::jsonb, :now::timestamptz, :now::timestamptz,
           :evse_uid::text, :evse_power_w::bigint, :power_type::text
    FROM allowed
    WHERE :new_session::boolean
    RETURNING 1  -- without it Citus copies the row, and what is there already has another error
), reopened AS (
    UPDATE gateway.session AS s SET state = 'active', updated_at = :now::timestamptz
    FROM allowed
    WHERE s.shard = :shard::smallint AND s.id = :session_id::uuid AND s.state = 'cancelled'
), lookup AS (  -- elsewhere
    INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
    SELECT 'session_ref', :session_name::text, :shard::smallint, :session_id::uuid
    FROM allowed
    WHERE :new_session::boolean AND :session_name::text IS NOT NULL
    RETURNING 1
), opened AS (
    INSERT INTO gateway.payment_authorization (
        shard, id, session_id, party_id, authorization_method, funding, account_party_id, state, hold_minor, currency,
        payment_method, customer, off_session, receipt_email, return_url, save_usage, save_consent, incrementable,
        most_minor, metadata, created_at, updated_at)
    SELECT :shard::smallint, :authorization_id::uuid, :session_id::uuid, :party_id::text, :authorization_method::text,
           :funding::text, :account_party_id::text, :state::text, :hold_minor::bigint, :currency::char(3),
           :payment_method::text, :customer::text, :off_session::boolean, :receipt_email::text, :return_url::text,
           :save_usage::text, :save_consent::text, :funding::text = 'partner_account', :most_minor::bigint, :metadata::jsonb,
           :now::timestamptz, :now::timestamptz
    FROM allowed
    RETURNING 1 AS done
), request AS (
    INSERT INTO gateway.psp_request (
        shard, id, session_id, authorization_id, kind, state, amount_minor, hold_features, next_attempt_at, created_at)
    SELECT :shard::smallint, :request_id::uuid, :session_id::uuid, :authorization_id::uuid, 'hold', 'intended',
           :hold_minor::bigint, :hold_features::text[], :next_attempt_at::timestamptz, :wall_now::timestamptz
    FROM allowed
    WHERE :request_id::uuid IS NOT NULL
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM allowed, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT EXISTS (SELECT 1 FROM begun) AS begun, EXISTS (SELECT 1 FROM opened) AS done;

-- name: record_start!
-- A running session began, as its CPO reports it.
UPDATE gateway.session SET started_at = :started_at, updated_at = :now
WHERE shard = :shard AND id = :session_id AND started_at IS NULL AND state IN ('active', 'cancelled');

-- name: complete_session^
-- The CDR ends the session: its bytes and its price are fixed, and the capture is now due. A CDR that ended another
-- session is a unique violation: one delivery is never paid for twice. Only by the tariff that priced it: the session's
-- station may have named its EVSE meanwhile.
-- With `request_id` the capture (or the release of a hold that nothing is owed of) is intended in the same statement,
-- where the authorization is still as it was read; without it, or where it has moved on, that is a phase of its own.
-- The request's Idempotency-Key is claimed with it; nothing else is written where the key is in use. A CDR whose id is
-- made of the session's own needs no name that no other session may use.
WITH claimed AS (
    INSERT INTO gateway.idempotency_key (shard, party_id, key, request_hash, resource_id, locked_until, created_at)
    SELECT :shard::smallint, :key_party_id::text, :key::text, :key_request_hash::bytea, :key_resource_id::uuid,
           :key_locked_until::timestamptz, :key_created_at::timestamptz
    WHERE :key::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING 1
), begun AS (
    SELECT 1 WHERE :key::text IS NULL OR EXISTS (SELECT 1 FROM claimed)
), ended AS (
    UPDATE gateway.session
    SET state = 'completed', started_at = :started_at::timestamptz, cdr_id = :cdr_id::text, cdr_version = :cdr_version::text, cdr = :cdr::bytea,
        price_minor = :price_minor::bigint, price_net_minor = :price_net_minor::bigint,
        energy_wh = :energy_wh::bigint, ended_at = :ended_at::timestamptz, flags = flags || :flags::text[],
        stated_by = :stated_by::text, updated_at = :now::timestamptz
    WHERE shard = :shard::smallint AND id = :session_id::uuid AND state IN ('active', 'cancelled')
      AND tariff_sha256 = :tariff_sha256::text AND EXISTS (SELECT 1 FROM begun)
    RETURNING shard, id, cpo_id
), lookup AS (  -- elsewhere
    INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
    SELECT 'cdr', cpo_id || ':' || lower(:cdr_id::text), shard, id FROM ended
    WHERE NOT :cdr_named_by_session::boolean
    RETURNING 1
), moved AS (
    UPDATE gateway.payment_authorization AS a
    SET state = 'capture_requested', version = version + 1, updated_at = :now::timestamptz, next_action = NULL
    FROM ended
    WHERE :request_id::uuid IS NOT NULL
      AND a.shard = :shard::smallint AND a.id = :authorization_id::uuid AND a.session_id = ended.id
      AND a.state = 'authorized' AND a.version = :expected_version::int
      AND NOT EXISTS (
          SELECT 1 FROM gateway.capture AS c
          WHERE c.shard = :shard::smallint AND c.session_id = :session_id::uuid AND c.state <> 'failed')
    RETURNING a.shard, a.id, a.session_id, a.currency
), captured AS (
    INSERT INTO gateway.capture (
        shard, session_id, id, authorization_id, state, amount_minor, receivable_minor, currency, created_at)
    SELECT shard, session_id, :capture_id::uuid, id, 'requested', :amount_minor::bigint, :receivable_minor::bigint,
           currency, :now::timestamptz
    FROM moved
    WHERE :amount_minor::bigint > 0
    -- One that captured nothing gives its place, and its id, to another attempt.
    ON CONFLICT (shard, session_id) DO UPDATE
    SET authorization_id = excluded.authorization_id, state = excluded.state, amount_minor = excluded.amount_minor,
        receivable_minor = excluded.receivable_minor, created_at = excluded.created_at
    WHERE capture.state = 'failed'
    RETURNING id
), request AS (
    INSERT INTO gateway.psp_request (
        shard, id, session_id, authorization_id, kind, state, amount_minor, next_attempt_at, created_at)
    SELECT shard, :request_id::uuid, session_id, id, CASE WHEN :amount_minor::bigint > 0 THEN 'capture' ELSE 'void' END,
           'intended', :amount_minor::bigint, :next_attempt_at::timestamptz, :wall_now::timestamptz
    FROM moved
    WHERE :amount_minor::bigint = 0 OR EXISTS (SELECT 1 FROM captured)
    RETURNING id
), task AS (
    -- An intended request is sent until it is answered, and its answer leaves what follows: it needs no task beside it.
    INSERT INTO gateway.task (shard, id, kind, session_id, run_at)
    SELECT shard, :task_id::uuid, 'capture_session', id, :run_at::timestamptz FROM ended
    WHERE NOT EXISTS (SELECT 1 FROM request)
    ON CONFLICT DO NOTHING
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM ended, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT EXISTS (SELECT 1 FROM begun) AS begun, EXISTS (SELECT 1 FROM ended) AS done,
       (SELECT coalesce((SELECT id FROM captured), request.id) FROM request) AS intended_id;

-- name: end_on_account$
-- Capture or release on a partner's funded account: no request outside, so intent and result are one statement. A session
-- whose hold was released is no longer active.
WITH priced AS (
    -- The price that the caller has read still applies, and applies until this commits: a correction waits.
    SELECT 1 FROM gateway.session
    WHERE shard = :shard::smallint AND id = :session_id::uuid AND price_minor IS NOT DISTINCT FROM :price_minor::bigint
    FOR NO KEY UPDATE
), moved AS (
    UPDATE gateway.payment_authorization
    SET state = CASE WHEN :amount_minor::bigint > 0 THEN 'captured' ELSE 'voided' END,
        version = version + 1, updated_at = :now::timestamptz
    WHERE shard = :shard::smallint AND id = :authorization_id::uuid AND state = 'authorized'
      AND (:expected_version::int IS NULL OR version = :expected_version::int)
      AND EXISTS (SELECT 1 FROM priced)
      AND NOT EXISTS (
          SELECT 1 FROM gateway.capture AS c
          WHERE c.shard = :shard::smallint AND c.session_id = :session_id::uuid AND c.state <> 'failed')
    RETURNING shard, id, session_id, state, currency, hold_minor, account_party_id
), cancelled AS (
    UPDATE gateway.session AS s SET state = 'cancelled', updated_at = :now::timestamptz
    FROM moved
    WHERE moved.state = 'voided' AND s.shard = :shard::smallint AND s.id = moved.session_id AND s.state = 'active'
), account AS (
    UPDATE gateway.partner_account AS p
    SET held_minor = p.held_minor - moved.hold_minor, balance_minor = p.balance_minor - :amount_minor::bigint
    FROM moved
    WHERE p.party_id = moved.account_party_id AND p.currency = moved.currency
), captured AS (
    INSERT INTO gateway.capture (
        shard, session_id, id, authorization_id, state, amount_minor, receivable_minor, currency, captured_at, created_at)
    SELECT shard, session_id, :capture_id::uuid, id, 'succeeded', :amount_minor::bigint, :receivable_minor::bigint,
           currency, :now::timestamptz, :now::timestamptz
    FROM moved
    WHERE :amount_minor::bigint > 0
    ON CONFLICT (shard, session_id) DO UPDATE
    SET id = excluded.id, authorization_id = excluded.authorization_id, state = excluded.state,
        amount_minor = excluded.amount_minor, receivable_minor = excluded.receivable_minor,
        captured_at = excluded.captured_at, created_at = excluded.created_at
    WHERE capture.state = 'failed'
), done AS (
    DELETE FROM gateway.task AS t USING moved
    WHERE t.shard = :shard::smallint AND t.session_id = moved.session_id AND t.kind = 'capture_session'
      AND moved.state = 'captured'
), task AS (
    INSERT INTO gateway.task (shard, id, kind, session_id, run_at)
    SELECT shard, :task_id::uuid, 'clear_session', session_id, :wall_now::timestamptz FROM moved WHERE :amount_minor::bigint > 0
    ON CONFLICT DO NOTHING
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM moved, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT true FROM moved;

-- name: raise_on_account$
-- A hold on a funded account, raised in our own books where the account covers it.
WITH raised AS (
    UPDATE gateway.payment_authorization
    SET hold_minor = :amount_minor::bigint, version = version + 1, updated_at = :now::timestamptz
    WHERE shard = :shard::smallint AND id = :authorization_id::uuid AND state = 'authorized'
      AND hold_minor = :hold_minor::bigint AND hold_minor < :amount_minor::bigint
    RETURNING account_party_id, currency
)
UPDATE gateway.partner_account AS p
SET held_minor = p.held_minor + :amount_minor::bigint - :hold_minor::bigint
FROM raised
WHERE p.party_id = raised.account_party_id AND p.currency = raised.currency
RETURNING true;

-- name: expire_authorization$
-- The PSP says that a hold has ended (expired or canceled there). Its session, if it runs, is no longer active.
WITH charging AS (
    -- Locked before the authorization, in the order in which every phase locks them.
    SELECT 1 FROM gateway.session WHERE shard = :shard::smallint AND id = :session_id::uuid FOR NO KEY UPDATE
), moved AS (
    UPDATE gateway.payment_authorization
    SET state = 'voided', version = version + 1, next_action = NULL, updated_at = :now::timestamptz
    WHERE shard = :shard::smallint AND id = :id::uuid AND state IN ('authorized', 'requires_action')
      AND EXISTS (SELECT 1 FROM charging)
    RETURNING shard, session_id
), cancelled AS (
    UPDATE gateway.session AS s SET state = 'cancelled', updated_at = :now::timestamptz
    FROM moved
    WHERE s.shard = :shard::smallint AND s.id = moved.session_id AND s.state = 'active'
)
SELECT true FROM moved;

-- name: record_action$
-- The cardholder has authenticated (or failed to): what the PSP says of the payment now counts. A payment that failed
-- is released at the PSP too: the app could try it once more, and hold money for nobody.
WITH charging AS (
    -- Locked before the authorization, in the order in which every phase locks them.
    SELECT 1 FROM gateway.session WHERE shard = :shard::smallint AND id = :session_id::uuid FOR NO KEY UPDATE
), moved AS (
    UPDATE gateway.payment_authorization
    SET state = :state::text, version = version + 1, psp_payment = coalesce(:psp_payment::text, psp_payment),
        capture_before = :capture_before::timestamptz, incrementable = :incrementable::boolean,
        max_capture_minor = :max_capture_minor::bigint, next_action = NULL, decline_code = :decline_code::text,
        updated_at = :now::timestamptz
    WHERE shard = :shard::smallint AND id = :id::uuid AND state = 'requires_action'
      AND (:state::text NOT IN ('voided', 'failed') OR EXISTS (SELECT 1 FROM charging))
    RETURNING shard, id, session_id, state, psp_payment
), cancelled AS (
    UPDATE gateway.session AS s SET state = 'cancelled', updated_at = :now::timestamptz
    FROM moved
    WHERE moved.state IN ('voided', 'failed') AND s.shard = :shard::smallint AND s.id = moved.session_id AND s.state = 'active'
), lookup AS (
    INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
    SELECT 'psp_payment', :psp_payment::text, shard, session_id FROM moved WHERE :psp_payment::text IS NOT NULL
    ON CONFLICT DO NOTHING
), release AS (
    INSERT INTO gateway.psp_request (
        shard, id, session_id, authorization_id, kind, psp_payment, state, amount_minor, next_attempt_at, created_at)
    SELECT shard, :release_id::uuid, session_id, id, 'hold_release', psp_payment, 'intended', 0, :wall_now::timestamptz,
           :wall_now::timestamptz
    FROM moved
    WHERE :state::text = 'failed'
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT :shard::smallint, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM moved, jsonb_to_recordset(:events::jsonb)
        AS e (id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT :shard::smallint, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT true FROM moved;

-- name: keep_psp_event^
-- An event of the PSP, once, in the shard `event_shard`. It leaves a task where it may change something: money refunded
-- or disputed (`always`), a request that was not answered, a challenge under way, a hold that ended, money captured
-- (`captured`) of a payment that we neither capture nor have captured. What we know already leaves none: a request that
-- was sent a moment ago has a caller who is about to get its answer, and an unanswered one is retried on its own
-- schedule. `shard` is that of the session; without one, no payment of ours is meant. The commit is flushed only for
-- refunds and disputes (of several events in one transaction the last one decides): of the rest, the poll of the PSP's
-- list finds what a crash has lost.
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', CASE WHEN :always::boolean THEN 'on' ELSE 'off' END, true) AS value
), kept AS (
    INSERT INTO gateway.psp_event (shard, id, type, body, received_at)
    SELECT :event_shard::smallint, :id::text, :type::text, :body::bytea, :received_at::timestamptz
    FROM relaxed WHERE relaxed.value <> ''
    ON CONFLICT DO NOTHING
    RETURNING id
), of_payer AS (  -- elsewhere
    SELECT 1 AS one
    WHERE EXISTS (SELECT 1 FROM gateway.payment_method_setup WHERE psp_setup = :psp_setup::text)
       OR EXISTS (
           SELECT 1 FROM gateway.payment_method
           WHERE psp_method IN (:detached_method::text, :updated_method::text) OR mandate = :revoked_mandate::text)
       OR EXISTS (SELECT 1 FROM gateway.connected_account WHERE psp_account = :connected_account::text)
), task AS (
    INSERT INTO gateway.task (shard, id, kind, payload, run_at)
    SELECT :event_shard::smallint, :task_id::uuid, 'handle_psp_event',
           jsonb_build_object('event', id, 'psp_payment', :psp_payment::text,
                              'connected_account', :connected_account::text), :received_at::timestamptz
    FROM kept
    WHERE :always::boolean AND :psp_payment::text IS NOT NULL
       OR :psp_topup::text IS NOT NULL OR :attached_method::text IS NOT NULL
       OR EXISTS (SELECT 1 FROM of_payer)
       OR :captured::boolean AND NOT EXISTS (
           SELECT 1 FROM gateway.payment_authorization AS a
           WHERE a.shard = :shard::smallint AND a.session_id = :session_id::uuid AND a.psp_payment = :psp_payment::text
             AND a.state IN ('capture_requested', 'captured'))
       OR EXISTS (
           SELECT 1 FROM gateway.payment_authorization AS a
           WHERE a.shard = :shard::smallint AND a.session_id = :session_id::uuid AND a.psp_payment = :psp_payment::text
             AND (a.state IN ('requires_action', 'outcome_unknown') OR (a.state = 'authorized' AND :ended::boolean)
                  OR EXISTS (
                      SELECT 1 FROM gateway.psp_request AS c
                      WHERE c.shard = :shard::smallint AND c.authorization_id = a.id AND c.state = 'unknown')))
)
SELECT EXISTS (SELECT 1 FROM kept) AS kept;

-- name: kept_psp_events
SELECT e.id FROM unnest(:shards::smallint[], :ids::text[]) AS given (shard, id)
JOIN gateway.psp_event AS e ON e.shard = given.shard AND e.id = given.id  -- shards of e
;

-- name: load_psp_event^
SELECT id, type, body, received_at FROM gateway.psp_event WHERE shard = :shard AND id = :id;
