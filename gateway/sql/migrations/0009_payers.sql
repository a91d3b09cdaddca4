-- Payers: whose customers and saved payment methods are whose, and the setups by which drivers save them. The PSP holds
-- the cards; here is only what a driver recognizes one by.

-- A driver of a party, as the PSP's customer. One that was made at the PSP by other means belongs to the party that
-- uses it first.
CREATE TABLE gateway.customer (
    id           uuid        PRIMARY KEY,       -- gives the PSP's idempotency key
    party_id     text        NOT NULL REFERENCES gateway.party (id),
    psp_customer text        UNIQUE,            -- the PSP's id, once the PSP has answered
    reference    text,                          -- the party's own name of the driver
    metadata     jsonb       NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL
);
CREATE INDEX customer_party ON gateway.customer (party_id, id);

-- The setup of a payment method: opened here, confirmed by the driver's app at the PSP. Its client secret is not kept.
CREATE TABLE gateway.payment_method_setup (
    id           uuid        PRIMARY KEY,       -- gives the PSP's idempotency key
    party_id     text        NOT NULL REFERENCES gateway.party (id),
    customer_id  uuid        NOT NULL REFERENCES gateway.customer (id),
    off_session  boolean     NOT NULL,          -- to be charged while the driver is away
    return_url   text        NOT NULL,
    psp_setup    text        UNIQUE,            -- the PSP's id, once the PSP has answered
    state        text        NOT NULL CHECK (state IN (
        'requires_payment_method', 'requires_action', 'processing', 'succeeded', 'cancelled')),
    version      integer     NOT NULL DEFAULT 1,
    psp_method   text,
    mandate      text,
    last_attempt text,                          -- the PSP's name of the last try
    error        text,                          -- why the last try failed
    metadata     jsonb       NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    CHECK ((state = 'succeeded') = (psp_method IS NOT NULL))
);
CREATE INDEX payment_method_setup_customer ON gateway.payment_method_setup (customer_id, id);

-- A payment method that a driver has saved.
CREATE TABLE gateway.payment_method (
    psp_method  text        PRIMARY KEY,
    id          uuid        NOT NULL UNIQUE,    -- gives the order of lists and the PSP's idempotency key
    party_id    text        NOT NULL REFERENCES gateway.party (id),
    customer_id uuid        NOT NULL REFERENCES gateway.customer (id),
    setup_id    uuid        NOT NULL REFERENCES gateway.payment_method_setup (id),
    mandate     text,                           -- the driver's consent to charges while away
    brand       text        NOT NULL,
    last4       text        NOT NULL CHECK (length(last4) <= 4),
    exp_month   smallint    NOT NULL,
    exp_year    smallint    NOT NULL,
    wallet      text,
    created_at  timestamptz NOT NULL,
    removed_at  timestamptz,                    -- it can't be charged from then on
    detached_at timestamptz                     -- the PSP has confirmed that
);
CREATE INDEX payment_method_customer ON gateway.payment_method (customer_id, id);
CREATE INDEX payment_method_mandate ON gateway.payment_method (mandate) WHERE mandate IS NOT NULL;

-- Where the driver returns to after a challenge.
ALTER TABLE gateway.payment_authorization ADD COLUMN return_url text;

-- Customers that were charged before belong to the party that charged them first.
INSERT INTO gateway.customer (id, party_id, psp_customer, created_at)
SELECT uuidv7(), party_id, customer, created_at
FROM (
    SELECT DISTINCT ON (customer) customer, party_id, created_at
    FROM gateway.payment_authorization
    WHERE customer IS NOT NULL
    ORDER BY customer, created_at, id
) AS used;

-- Secrets of the PSP's clients leave the database.
UPDATE gateway.payment_authorization
SET next_action = jsonb_build_object('type', coalesce(next_action ->> 'type', 'authenticate'))
WHERE next_action IS NOT NULL;
