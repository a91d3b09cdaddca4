-- What a contract may spend within a day, what a suspicion leads to, and means of payment that were switched off.

ALTER TABLE pnc.contract
    ADD COLUMN amount_per_day_minor bigint CHECK (amount_per_day_minor > 0),  -- by the local day of its party
    ADD COLUMN on_suspicion text NOT NULL DEFAULT 'report' CHECK (on_suspicion IN ('report', 'block'));
ALTER TABLE pnc.contract DROP CONSTRAINT contract_check1;
ALTER TABLE pnc.contract ADD CONSTRAINT contract_currency
    CHECK ((limit_minor IS NULL AND amount_per_day_minor IS NULL) = (currency IS NULL));

-- What a session may spend at most while its payment is not held yet; afterwards its hold and its capture count.
ALTER TABLE pnc.decision
    ADD COLUMN reserved_minor bigint CHECK (reserved_minor >= 0),
    ADD COLUMN reserved_currency char(3),
    ADD CONSTRAINT decision_reserved CHECK ((reserved_minor IS NULL) = (reserved_currency IS NULL));
-- Sessions are counted for a contract, whatever their shard; rejected ones count for a suspicion.
DROP INDEX pnc.decision_contract;
CREATE INDEX decision_contract ON pnc.decision (contract_id, decided_at) WHERE contract_id IS NOT NULL;

-- Means of payment that the platform switched off. They stay off whatever contract names them later.
CREATE TABLE pnc.disabled_payment (
    environment       text        NOT NULL REFERENCES pnc.environment,
    payment_kind      text        NOT NULL CHECK (payment_kind IN ('psp_mandate', 'partner_account')),
    payment_reference text        NOT NULL CHECK (payment_reference <> ''),
    disabled_at       timestamptz NOT NULL,
    PRIMARY KEY (environment, payment_kind, payment_reference)
);
INSERT INTO pnc.disabled_payment
SELECT DISTINCT ON (environment, payment_kind, payment_reference)
    environment, payment_kind, payment_reference, updated_at
FROM pnc.contract WHERE NOT payment_usable AND state <> 'cancelled'
ORDER BY environment, payment_kind, payment_reference, updated_at;
