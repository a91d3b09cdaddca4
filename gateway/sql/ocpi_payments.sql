-- The 2.3.0 modules payments and invoicereconciliation, and what waits to be sent to peers.

-- name: save_terminal$
INSERT INTO gateway.ocpi_terminal (terminal_key, terminal_id, cpo_id, state, body, created_at, last_updated)
VALUES (:terminal_key, :terminal_id, :cpo_id, :state, :body, :now, :last_updated)
ON CONFLICT (terminal_key) DO UPDATE
SET state = EXCLUDED.state, body = EXCLUDED.body, last_updated = EXCLUDED.last_updated
WHERE ocpi_terminal.cpo_id = EXCLUDED.cpo_id
RETURNING terminal_id;

-- name: load_terminal^
SELECT terminal_id, cpo_id, state, body, last_updated FROM gateway.ocpi_terminal
WHERE terminal_key = :terminal_key AND cpo_id = ANY(:parties::text[]);

-- name: lock_terminal^
SELECT terminal_id, cpo_id, state, body, last_updated FROM gateway.ocpi_terminal
WHERE terminal_key = :terminal_key AND cpo_id = ANY(:parties::text[])
FOR UPDATE;

-- name: load_advice^
SELECT advice_id, cpo_id, body FROM gateway.ocpi_financial_advice
WHERE advice_id = :advice_id AND cpo_id = ANY(:parties::text[]);

-- name: add_advice$
INSERT INTO gateway.ocpi_financial_advice (capture_id, advice_id, cpo_id, body, last_updated)
VALUES (:capture_id, :advice_id, :cpo_id, :body, :now)
ON CONFLICT (capture_id) DO NOTHING
RETURNING advice_id;

-- name: parties_taking_advice
-- CPOs whose platform has a payments module to push to.
SELECT DISTINCT m.party_id FROM gateway.ocpi_peer_endpoint AS e
JOIN gateway.ocpi_peer AS p ON p.id = e.peer_id AND p.state = 'registered'
JOIN gateway.ocpi_peer_party AS m ON m.peer_id = p.id
WHERE e.module = 'payments' AND e.role = 'RECEIVER'
ORDER BY m.party_id;

-- name: captures_without_advice
-- Of one shard, since :floor (an id: they sort by time), answered by the PSP and without an advice.
WITH advised AS MATERIALIZED (
    SELECT a.capture_id FROM gateway.ocpi_financial_advice AS a WHERE a.capture_id >= :floor
), waiting AS MATERIALIZED (
    SELECT c.id, c.state, c.amount_minor, c.currency, c.receivable_minor, c.captured_at, c.created_at,
           s.cpo_id, s.price_minor, s.price_net_minor, c.authorization_id, lower(s.cdr_id) AS cdr_key
    FROM gateway.capture AS c
    JOIN gateway.session AS s ON s.shard = c.shard AND s.id = c.session_id
    WHERE c.shard = :shard AND c.id >= :floor AND c.state <> 'requested' AND s.cpo_id = ANY(:parties::text[])
      AND c.id NOT IN (SELECT a.capture_id FROM advised AS a)
    ORDER BY c.id
    LIMIT :row_limit::int
)
SELECT c.id, c.state, c.amount_minor, c.currency, c.receivable_minor, c.captured_at, c.created_at,
       c.cpo_id, c.price_minor, c.price_net_minor, c.authorization_id, r.authorization_reference
FROM waiting AS c LEFT JOIN gateway.ocpi_cdr AS r ON r.party_id = c.cpo_id AND r.cdr_key = c.cdr_key
ORDER BY c.id;

-- name: save_invoice$
INSERT INTO gateway.ocpi_invoice
    (party_id, record_key, record_id, invoice_id, cdr_keys, body, last_updated, received_at)
VALUES (:party_id, :record_key, :record_id, :invoice_id, :cdr_keys, :body, :last_updated, :now)
ON CONFLICT (party_id, record_key) DO UPDATE
SET invoice_id = EXCLUDED.invoice_id, cdr_keys = EXCLUDED.cdr_keys, body = EXCLUDED.body,
    last_updated = EXCLUDED.last_updated, deleted_at = NULL
RETURNING (xmax = 0) AS created;

-- name: load_invoice^
SELECT record_id, invoice_id, cdr_keys, body, last_updated FROM gateway.ocpi_invoice
WHERE party_id = :party_id AND record_key = :record_key AND deleted_at IS NULL;

-- name: delete_invoice$
UPDATE gateway.ocpi_invoice SET deleted_at = :now
WHERE party_id = :party_id AND record_key = :record_key AND deleted_at IS NULL
RETURNING record_id;

-- name: reconcile_invoice
-- Each CDR that an invoice names: unknown here, waiting, completed, or credited; and named by other invoices too.
SELECT named.cdr_key, c.status, c.session_id, c.currency,
       EXISTS (SELECT 1 FROM gateway.ocpi_cdr AS k
               WHERE k.party_id = i.party_id AND lower(k.credit_reference_id) = named.cdr_key AND k.credit) AS credited,
       EXISTS (SELECT 1 FROM gateway.ocpi_invoice AS o
               WHERE o.party_id = i.party_id AND o.record_key <> i.record_key AND o.deleted_at IS NULL
                 AND named.cdr_key = ANY(o.cdr_keys)) AS elsewhere
FROM gateway.ocpi_invoice AS i
CROSS JOIN LATERAL unnest(i.cdr_keys) WITH ORDINALITY AS named (cdr_key, place)
LEFT JOIN gateway.ocpi_cdr AS c ON c.party_id = i.party_id AND c.cdr_key = named.cdr_key
WHERE i.party_id = :party_id AND i.record_key = :record_key AND i.deleted_at IS NULL
ORDER BY named.place;

-- name: add_message!
INSERT INTO gateway.ocpi_outbox (id, party_id, module, method, path, object_id, body, created_at, run_at)
VALUES (:id, :party_id, :module, :method, :path, :object_id, :body, :now, :wall_now);

-- name: lease_messages
-- The first unsent message of each object only: an object's messages arrive in order.
UPDATE gateway.ocpi_outbox AS m
SET leased_until = :leased_until::timestamptz, attempts = m.attempts + 1
FROM (
    SELECT o.id FROM gateway.ocpi_outbox AS o
    WHERE o.exception_at IS NULL AND o.run_at <= :wall_now::timestamptz
      AND (o.leased_until IS NULL OR o.leased_until <= :wall_now::timestamptz)
      AND NOT EXISTS (SELECT 1 FROM gateway.ocpi_outbox AS e
                      WHERE e.party_id = o.party_id AND e.object_id = o.object_id AND e.id < o.id)
    ORDER BY o.run_at
    LIMIT :batch::int
    FOR UPDATE SKIP LOCKED
) AS due
WHERE m.id = due.id
RETURNING m.id, m.party_id, m.module, m.method, m.path, m.object_id, m.body, m.attempts, m.created_at;

-- name: message_sent!
DELETE FROM gateway.ocpi_outbox WHERE id = :id;

-- name: postpone_message!
UPDATE gateway.ocpi_outbox
SET leased_until = NULL, run_at = :run_at::timestamptz, last_error = :reason,
    exception_at = CASE WHEN :exception::boolean THEN :run_at::timestamptz END
WHERE id = :id;

-- name: waiting_messages
SELECT id, party_id, module, method, path, object_id, attempts, last_error, created_at, run_at, exception_at
FROM gateway.ocpi_outbox
WHERE (:party_id::text IS NULL OR party_id = :party_id::text)
ORDER BY id
LIMIT :row_limit::int;

-- name: retry_messages$
WITH retried AS (
    UPDATE gateway.ocpi_outbox SET exception_at = NULL, attempts = 0, run_at = :wall_now::timestamptz
    WHERE exception_at IS NOT NULL AND (:party_id::text IS NULL OR party_id = :party_id::text)
    RETURNING id
)
SELECT count(*) FROM retried;
