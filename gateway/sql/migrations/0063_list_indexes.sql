-- outside a transaction
-- Pages of sessions, payments and events in the order of their ids, of everybody and of one party, and what a person
-- looks for: a reference, an EVSE, an amount, a pair of metadata, a reason for a declined payment, a day.

CREATE INDEX CONCURRENTLY session_by_id ON gateway.session (id);
CREATE INDEX CONCURRENTLY session_price ON gateway.session (price_minor, id) WHERE price_minor IS NOT NULL;
CREATE INDEX CONCURRENTLY session_reference ON gateway.session (session_ref, id) WHERE session_ref IS NOT NULL;
CREATE INDEX CONCURRENTLY session_charge_point ON gateway.session (upper(evse_id), id);
-- Without a list of pending entries: one long cleaning of it would delay the authorization that meets it.
CREATE INDEX CONCURRENTLY session_metadata ON gateway.session
    USING gin (metadata jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX CONCURRENTLY session_by_time ON gateway.session USING brin (created_at);
CREATE INDEX CONCURRENTLY payment_authorization_by_id ON gateway.payment_authorization (id);
CREATE INDEX CONCURRENTLY payment_authorization_party ON gateway.payment_authorization (party_id, id);
CREATE INDEX CONCURRENTLY payment_authorization_declined ON gateway.payment_authorization (decline_code, id)
    WHERE decline_code IS NOT NULL;
CREATE INDEX CONCURRENTLY capture_by_id ON gateway.capture (id);
CREATE INDEX CONCURRENTLY event_by_id ON gateway.event (id);
