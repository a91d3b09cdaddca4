-- Customers, setups of payment methods, saved payment methods.

-- name: add_customer^
-- A customer about to be created at the PSP; the same id again is the same customer.
INSERT INTO gateway.customer (id, party_id, reference, metadata, created_at)
VALUES (:id::uuid, :party_id::text, :reference::text, :metadata::jsonb, :now::timestamptz)
ON CONFLICT (id) DO UPDATE SET id = excluded.id
RETURNING *;

-- name: record_customer^
-- The PSP has created it.
UPDATE gateway.customer SET psp_customer = coalesce(psp_customer, :psp_customer) WHERE id = :id RETURNING *;

-- name: load_customer^
SELECT * FROM gateway.customer WHERE psp_customer = :psp_customer;

-- name: list_customers
SELECT * FROM gateway.customer
WHERE psp_customer IS NOT NULL
  AND (:party_id::text IS NULL OR party_id = :party_id::text)
  AND (:reference::text IS NULL OR reference = :reference::text)
  AND (:before::uuid IS NULL OR id < :before::uuid)
ORDER BY id DESC
LIMIT :row_limit::int;

-- name: add_setup^
-- A setup about to be opened at the PSP; the same id again is the same setup.
INSERT INTO gateway.payment_method_setup (
    id, party_id, customer_id, off_session, return_url, state, metadata, created_at, updated_at)
VALUES (:id::uuid, :party_id::text, :customer_id::uuid, :off_session::boolean, :return_url::text,
        'requires_payment_method', :metadata::jsonb, :now::timestamptz, :now::timestamptz)
ON CONFLICT (id) DO UPDATE SET id = excluded.id
RETURNING *;

-- name: record_opened_setup^
-- The PSP has opened it.
UPDATE gateway.payment_method_setup SET psp_setup = coalesce(psp_setup, :psp_setup) WHERE id = :id RETURNING *;

-- name: load_setup^
SELECT s.*, c.psp_customer FROM gateway.payment_method_setup AS s
JOIN gateway.customer AS c ON c.id = s.customer_id
WHERE s.id = :id;

-- name: find_setup^
SELECT s.*, c.psp_customer FROM gateway.payment_method_setup AS s
JOIN gateway.customer AS c ON c.id = s.customer_id
WHERE s.psp_setup = :psp_setup;

-- name: record_setup$
-- What the PSP says of a setup that has not ended: its state, and the saved method once there is one. Done once for each
-- version, however many read the PSP at once.
WITH moved AS (
    UPDATE gateway.payment_method_setup
    SET state = :state::text, version = version + 1, psp_method = :psp_method::text, mandate = :mandate::text,
        last_attempt = :last_attempt::text, error = :error::text, updated_at = :now::timestamptz
    WHERE id = :id::uuid AND version = :version::int AND state NOT IN ('succeeded', 'cancelled')
    RETURNING id, party_id, customer_id
), saved AS (
    INSERT INTO gateway.payment_method (
        psp_method, id, party_id, customer_id, setup_id, mandate, brand, last4, exp_month, exp_year, wallet,
        fingerprint, created_at)
    SELECT :psp_method::text, :method_id::uuid, moved.party_id, moved.customer_id, moved.id, :mandate::text,
           :brand::text, :last4::text, :exp_month::smallint, :exp_year::smallint, :wallet::text,
           :fingerprint::text, :now::timestamptz
    FROM moved
    WHERE :state::text = 'succeeded'
    ON CONFLICT (psp_method) DO NOTHING
), published AS (
    INSERT INTO gateway.event (
        shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out)
    SELECT e.shard, e.id, e.party_id, e.type, e.object_id, e.data, e.data_of, :now::timestamptz, e.traceparent,
           NOT EXISTS (SELECT 1 FROM gateway.webhook_endpoint AS w
                       WHERE w.party_id = e.party_id AND w.state <> 'deleted' AND w.filter IS NOT NULL)
    FROM moved, jsonb_to_recordset(:events::jsonb)
        AS e (shard smallint, id uuid, party_id text, type text, object_id text, data jsonb, data_of uuid, traceparent text)
    RETURNING shard, id, party_id, type, object_id, fanned_out
), handed_out AS (
    INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state)
    SELECT e.shard, w.id, e.id, e.object_id, 'pending'
    FROM published AS e
    JOIN gateway.webhook_endpoint AS w ON w.party_id = e.party_id AND w.state <> 'deleted'
    WHERE e.fanned_out AND w.event_types && ARRAY['*', e.type]
)
SELECT true FROM moved;

-- name: list_payment_methods
SELECT m.*, c.psp_customer FROM gateway.payment_method AS m
JOIN gateway.customer AS c ON c.id = m.customer_id
WHERE m.customer_id = :customer_id::uuid AND m.removed_at IS NULL
  AND (:before::uuid IS NULL OR m.id < :before::uuid)
ORDER BY m.id DESC
LIMIT :row_limit::int;

-- name: load_payment_method^
SELECT m.*, c.psp_customer FROM gateway.payment_method AS m
JOIN gateway.customer AS c ON c.id = m.customer_id
WHERE m.psp_method = :psp_method;

-- name: remove_payment_method!
-- From now on it can't be charged; the PSP hears of it next.
UPDATE gateway.payment_method SET removed_at = coalesce(removed_at, :now) WHERE psp_method = :psp_method;

-- name: save_attached_method$
-- A method that the PSP has saved for a customer, by the authorization of that customer that asked for it.
INSERT INTO gateway.payment_method (
    psp_method, id, party_id, customer_id, authorization_id, consent, brand, last4, exp_month, exp_year, wallet,
        fingerprint, created_at)
SELECT a.payment_method, :method_id::uuid, a.party_id, c.id, a.id, a.save_consent, :brand::text, :last4::text,
       :exp_month::smallint, :exp_year::smallint, :wallet::text,
           :fingerprint::text, :now::timestamptz
FROM gateway.payment_authorization AS a
JOIN gateway.customer AS c ON c.psp_customer = a.customer AND c.party_id = a.party_id
WHERE a.payment_method = :psp_method::text AND a.customer = :psp_customer::text AND a.save_usage IS NOT NULL
ORDER BY a.id
LIMIT 1
ON CONFLICT (psp_method) DO NOTHING
RETURNING true;

-- name: record_detached_method!
UPDATE gateway.payment_method
SET removed_at = coalesce(removed_at, :now), detached_at = coalesce(detached_at, :now)
WHERE psp_method = :psp_method;

-- name: record_updated_method$
-- The card network has replaced the card; the method and its mandate stay.
UPDATE gateway.payment_method
SET brand = :brand, last4 = :last4, exp_month = :exp_month, exp_year = :exp_year, wallet = :wallet,
    fingerprint = :fingerprint::text, card_updated_at = :now
WHERE psp_method = :psp_method
  AND (brand, last4, exp_month, exp_year) IS DISTINCT FROM (:brand::text, :last4::text, :exp_month::smallint, :exp_year::smallint)
  AND removed_at IS NULL
RETURNING true;

-- name: record_revoked_mandate!
-- The driver's bank has ended the consent to charges while away.
UPDATE gateway.payment_method SET mandate = NULL WHERE mandate = :mandate;

-- name: knows_other_payer$
-- Whether a customer or a payment method is known as another party's, or was removed.
SELECT EXISTS (
    SELECT 1 FROM gateway.customer WHERE psp_customer = :psp_customer::text AND party_id <> :party_id::text
) OR EXISTS (
    SELECT 1 FROM gateway.payment_method
    WHERE psp_method = :psp_method::text AND (party_id <> :party_id::text OR removed_at IS NOT NULL)
);
