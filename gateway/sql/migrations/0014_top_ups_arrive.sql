-- A top-up is booked when it has arrived at the PSP, days after it was requested, and may fail or be taken back.

ALTER TABLE gateway.top_up
    ADD COLUMN party_id     text REFERENCES gateway.party (id),  -- whose funded account it is for, null: our own money
    ADD COLUMN reference    text,
    ADD COLUMN funding_id   uuid,         -- of the partner's funding, once it is booked
    ADD COLUMN state        text CHECK (state IN (
        'requested', 'pending', 'arrived', 'failed', 'cancelled', 'reversed')),
    ADD COLUMN failure_code text,
    -- What its party had spent of it when it was taken back.
    ADD COLUMN overdrawn_minor bigint NOT NULL DEFAULT 0 CHECK (overdrawn_minor >= 0),
    ADD COLUMN checked_at   timestamptz,  -- wall time: when the PSP was asked last
    ADD COLUMN updated_at   timestamptz;  -- business time
-- What the PSP has answered before is read there once more, and booked if it was not.
UPDATE gateway.top_up
SET party_id = CASE WHEN subject LIKE 'partner/%' THEN split_part(subject, '/', 2) END,
    reference = CASE WHEN subject LIKE 'partner/%' THEN substr(subject, length(split_part(subject, '/', 2)) + 10)
                     ELSE substr(subject, 10) END,
    funding_id = CASE WHEN subject LIKE 'partner/%' THEN id END,
    state = CASE WHEN psp_object IS NULL THEN 'requested' ELSE 'pending' END,
    updated_at = requested_at;
ALTER TABLE gateway.top_up
    ALTER COLUMN reference SET NOT NULL,
    ALTER COLUMN state SET NOT NULL,
    ALTER COLUMN updated_at SET NOT NULL,
    ADD CHECK ((state = 'requested') = (psp_object IS NULL)),
    ADD CHECK ((state IN ('failed', 'cancelled', 'reversed')) = (failure_code IS NOT NULL)),
    ADD CHECK ((party_id IS NULL) = (funding_id IS NULL));
CREATE UNIQUE INDEX top_up_psp_object ON gateway.top_up (psp_object) WHERE psp_object IS NOT NULL;
CREATE INDEX top_up_waiting ON gateway.top_up (checked_at NULLS FIRST) WHERE state IN ('requested', 'pending');

-- A partner's top-up that the bank took back counts no more.
ALTER TABLE gateway.partner_funding ADD COLUMN reversed_at timestamptz;

-- The card network replaces a saved card: the driver sees the new one.
ALTER TABLE gateway.payment_method ADD COLUMN card_updated_at timestamptz;
