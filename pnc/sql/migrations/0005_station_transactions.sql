-- The station's own id of a session's transaction: it begins after the authorization, so it is named later.

ALTER TABLE pnc.decision ADD COLUMN transaction_id text
    CHECK (transaction_id <> '' AND length(transaction_id) <= 36);
CREATE INDEX decision_transaction ON pnc.decision (shard, environment, operator_id, transaction_id)
    WHERE transaction_id IS NOT NULL;
