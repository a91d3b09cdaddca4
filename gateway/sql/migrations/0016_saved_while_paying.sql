-- A payment method may be saved by the payment that uses it first, with the driver's consent.
ALTER TABLE gateway.payment_authorization
    ADD COLUMN save_usage   text CHECK (save_usage IN ('off_session', 'on_session')),  -- null: not to be saved
    ADD COLUMN save_consent text CHECK (save_consent <> ''),  -- the party's record of the consent
    ADD CHECK ((save_usage IS NULL) = (save_consent IS NULL));
CREATE INDEX payment_authorization_saves ON gateway.payment_authorization (payment_method) WHERE save_usage IS NOT NULL;

-- Saved by a setup, or by an authorization.
ALTER TABLE gateway.payment_method
    ALTER COLUMN setup_id DROP NOT NULL,
    ADD COLUMN authorization_id uuid,
    ADD COLUMN consent          text,
    ADD CHECK ((setup_id IS NULL) <> (authorization_id IS NULL)),
    ADD CHECK ((authorization_id IS NULL) = (consent IS NULL));
