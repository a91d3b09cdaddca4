-- When a hold is looked after next, in business time: each is visited in turn, one that can't be renewed as well.
ALTER TABLE gateway.payment_authorization ADD COLUMN next_look_at timestamptz;

-- Money on its way into the platform's PSP balance: committed before the PSP is asked, so that a repeat after the
-- lifetime of the PSP's key looks the earlier one up instead of making another.
CREATE TABLE gateway.top_up (
    subject      text PRIMARY KEY,                          -- 'partner/superapp/INV-1', 'platform/FLOAT-1'
    id           uuid NOT NULL UNIQUE,                      -- gives the PSP's key and metadata, derived from the subject
    currency     char(3) NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    asked_at     timestamptz NOT NULL,                      -- wall time: the PSP's key lifetime counts from it
    psp_object   text                                       -- the top-up at the PSP, once it has answered
);

-- What becomes of sessions whose CDR never comes, per CPO; the platform's own row holds for those without one.
CREATE TABLE gateway.missing_cdr_policy (
    party_id   text PRIMARY KEY REFERENCES gateway.party (id),
    action     text NOT NULL CHECK (action IN ('release', 'last_known_cost')),
    after_days integer NOT NULL CHECK (after_days BETWEEN 1 AND 365)
);
