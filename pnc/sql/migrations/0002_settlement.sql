-- How a decision's session was settled, told once to the station's operator; and what finds decisions that still wait
-- for that, or that are past their retention.

ALTER TABLE pnc.decision
    ADD COLUMN settlement text CHECK (settlement IN ('Settled', 'Canceled', 'Failed')),  -- PaymentStatusEnumType
    ADD COLUMN settled_at timestamptz,
    ADD CHECK ((settlement IS NULL) = (settled_at IS NULL)),
    ADD CHECK (settlement IS NULL OR (state = 'closed' AND authorization_id IS NOT NULL));

-- A failed settlement is looked at again: the money may come in late.
CREATE INDEX decision_unsettled ON pnc.decision (lane, id)
    WHERE authorization_id IS NOT NULL AND (settlement IS NULL OR settlement = 'Failed');
CREATE INDEX decision_age ON pnc.decision (lane, decided_at);
