-- A dispute may be an inquiry, which moves no money, may withdraw nothing (after a full refund), may be prevented, and
-- may be appealed after it was lost. What is claimed, what was withdrawn and what the card's bank waits for are apart.

ALTER TABLE gateway.dispute DROP CONSTRAINT dispute_state_check;
ALTER TABLE gateway.dispute DROP CONSTRAINT dispute_amount_minor_check;
ALTER TABLE gateway.dispute DROP CONSTRAINT dispute_check1;
ALTER TABLE gateway.dispute
    ADD COLUMN withdrawn_minor bigint NOT NULL DEFAULT 0,
    ADD COLUMN withdrawn_at timestamptz,                       -- null: the PSP has moved no money for it
    ADD COLUMN response text NOT NULL DEFAULT 'none',
    ADD COLUMN respond_by timestamptz,                         -- null: no evidence is accepted
    ADD COLUMN submissions integer NOT NULL DEFAULT 0,         -- how often evidence was submitted
    ADD COLUMN is_refundable boolean NOT NULL DEFAULT false;   -- a refund of the charge still ends it
UPDATE gateway.dispute SET withdrawn_minor = amount_minor, withdrawn_at = opened_at;
ALTER TABLE gateway.dispute
    ADD CONSTRAINT dispute_state_check CHECK (state IN ('inquiry', 'opened', 'won', 'lost', 'closed')),
    ADD CONSTRAINT dispute_amount_minor_check CHECK (amount_minor >= 0),
    ADD CONSTRAINT dispute_withdrawn_minor_check CHECK (withdrawn_minor >= 0),
    ADD CONSTRAINT dispute_response_check CHECK (response IN ('none', 'needed', 'under_review')),
    ADD CONSTRAINT dispute_submissions_check CHECK (submissions >= 0),
    ADD CONSTRAINT dispute_withdrawn_check CHECK (withdrawn_at IS NOT NULL OR withdrawn_minor = 0),
    ADD CONSTRAINT dispute_inquiry_check CHECK (state <> 'inquiry' OR withdrawn_at IS NULL),
    ADD CONSTRAINT dispute_closed_check CHECK ((state IN ('won', 'lost', 'closed')) = (closed_at IS NOT NULL));
