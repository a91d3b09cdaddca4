-- Fewer writes a session: what an update changes stands in no index, and no foreign key locks a row that all share.

-- Since when a session is an exception; null: it is none. `state` stands in no index any more, so that clearing a
-- session writes one row and no index. What a worker of the release before marks while both run has no time here: the
-- audit shows it as captured and not cleared.
ALTER TABLE gateway.session ADD COLUMN exception_at timestamptz;

-- The last attempt, where this row says all that there is to know of it: the event was accepted with an empty answer.
-- It has no row of its own in delivery_attempt.
ALTER TABLE gateway.delivery ADD COLUMN attempt_id uuid;

-- No party is ever removed, and who is named here was read from a table that names it by a foreign key: the API key of
-- the request, or the connector of the CPO. Each key locked a party's row that all of its sessions share.
ALTER TABLE gateway.idempotency_key DROP CONSTRAINT idempotency_key_party_id_fkey;
ALTER TABLE gateway.session DROP CONSTRAINT session_demand_partner_id_fkey;
ALTER TABLE gateway.session DROP CONSTRAINT session_cpo_id_fkey;
ALTER TABLE gateway.payment_authorization DROP CONSTRAINT payment_authorization_party_id_fkey;
-- No authorization is ever removed, and the statement that writes these rows has just read or written it.
ALTER TABLE gateway.capture DROP CONSTRAINT capture_shard_authorization_id_fkey;
ALTER TABLE gateway.psp_request DROP CONSTRAINT psp_request_shard_authorization_id_fkey;

-- Room on the page for what a row becomes: a claimed key grows by the answer, a session by its CDR, a delivery by what
-- its receiver answered.
ALTER TABLE gateway.idempotency_key SET (fillfactor = 15);
ALTER TABLE gateway.session SET (fillfactor = 50);
ALTER TABLE gateway.delivery SET (fillfactor = 45);
