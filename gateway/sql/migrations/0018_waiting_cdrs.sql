-- The hold of a session whose CDR waits for a person is kept: its CDR is found by the session.

CREATE INDEX ocpi_cdr_waiting ON gateway.ocpi_cdr (session_id) WHERE status = 'unpriceable';
