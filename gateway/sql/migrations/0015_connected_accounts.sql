-- Connected accounts at the PSP: where parties are paid over it, and whether it can pay them now.
CREATE TABLE gateway.connected_account (
    party_id          text        PRIMARY KEY REFERENCES gateway.party (id),
    id                uuid        NOT NULL UNIQUE,    -- ours; where we created the account, its metadata names it
    psp_account       text        NOT NULL,           -- the PSP's id
    transfers         text        NOT NULL DEFAULT 'inactive'
        CHECK (transfers IN ('active', 'pending', 'inactive', 'unrequested', 'unknown')),
    payouts_enabled   boolean     NOT NULL DEFAULT false,
    details_submitted boolean     NOT NULL DEFAULT false,
    country           text,
    currency          text,
    disabled_reason   text,                           -- the PSP's code
    requirements      text[]      NOT NULL DEFAULT '{}',
    requirements_due  timestamptz,
    version           integer     NOT NULL DEFAULT 0, -- of what the PSP said; 0: it was not read yet
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    read_at           timestamptz                     -- wall time of the PSP's last answer
);
CREATE INDEX connected_account_psp ON gateway.connected_account (psp_account);
