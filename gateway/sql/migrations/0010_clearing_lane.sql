-- The authorizations of a session, whatever their state: the one that counts is looked for at every answer and every
-- clearing, and without this index each look reads all of a lane's.
CREATE INDEX payment_authorization_of_session ON gateway.payment_authorization (lane, session_id, id);
