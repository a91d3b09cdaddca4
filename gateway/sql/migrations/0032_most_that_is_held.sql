-- What a contract pays for one session, or has left of its day: no update of the running session holds more.
ALTER TABLE gateway.payment_authorization
    ADD COLUMN most_minor bigint CHECK (most_minor > 0);  -- null: no such bound
