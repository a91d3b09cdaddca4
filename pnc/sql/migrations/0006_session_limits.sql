-- Limits of a contract beside its amount for each session; null is no limit. They are what its eMSP allows: a copied or
-- stolen contract shows itself by more sessions than one vehicle has.

ALTER TABLE pnc.contract
    ADD COLUMN sessions_at_once integer CHECK (sessions_at_once > 0),
    ADD COLUMN sessions_per_day integer CHECK (sessions_per_day > 0);  -- in any 24 hours
CREATE INDEX decision_contract ON pnc.decision (shard, contract_id, decided_at)
    WHERE state IN ('awaiting_payment', 'accepted', 'closed');
