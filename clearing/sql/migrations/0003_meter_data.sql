-- Signed meter data: keys of meters, what a CPO's CDRs must carry, the records that settled a session.

-- A key of a CPO's meter. It is never learnt from a CDR, and never edited: it ends, and another one follows.
CREATE TABLE clearing.meter_key (
    id              uuid        PRIMARY KEY,
    party_id        text        NOT NULL REFERENCES clearing.party,
    meter_serial    text,
    gateway_serial  text,
    charge_point_id text,
    -- The three as they are compared: lower case, without spaces, empty where not given.
    meter_key       text        NOT NULL CHECK (meter_key = lower(meter_key)),
    gateway_key     text        NOT NULL CHECK (gateway_key = lower(gateway_key)),
    point_key       text        NOT NULL CHECK (point_key = lower(point_key)),
    curve           text        NOT NULL,
    der             bytea       NOT NULL CHECK (octet_length(der) BETWEEN 40 AND 400),  -- SubjectPublicKeyInfo
    source          text        NOT NULL CHECK (source IN ('bnetza', 'cpo', 'manufacturer')),
    state           text        NOT NULL CHECK (state IN ('active', 'proposed', 'rejected')),
    valid_from      timestamptz NOT NULL,
    valid_to        timestamptz CHECK (valid_to > valid_from),  -- exclusive; null: open
    entered_by      text        NOT NULL,
    entered_at      timestamptz NOT NULL,
    decided_by      text        CHECK (lower(decided_by) <> lower(entered_by)),  -- four-eyes approval
    decided_at      timestamptz,
    CHECK (meter_key <> '' OR gateway_key <> '' OR point_key <> ''),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CHECK (state <> 'rejected' OR decided_by IS NOT NULL)
);
CREATE INDEX meter_key_meter ON clearing.meter_key (party_id, meter_key) WHERE meter_key <> '';
CREATE INDEX meter_key_gateway ON clearing.meter_key (party_id, gateway_key) WHERE gateway_key <> '';
CREATE INDEX meter_key_point ON clearing.meter_key (party_id, point_key) WHERE point_key <> '';
CREATE INDEX meter_key_proposed ON clearing.meter_key (entered_at) WHERE state = 'proposed';

-- What the CDRs of a CPO must carry, from an instant on; without a row what they carry is checked.
CREATE TABLE clearing.meter_policy (
    party_id   text        NOT NULL REFERENCES clearing.party,
    valid_from timestamptz NOT NULL,
    policy     text        NOT NULL CHECK (policy IN ('required', 'checked', 'ignored')),
    set_by     text        NOT NULL,
    set_at     timestamptz NOT NULL,
    PRIMARY KEY (party_id, valid_from)
);

-- The records of a meter by which a session was settled. A record belongs to one session for ever.
CREATE TABLE clearing.meter_record (
    party_id       text        NOT NULL,
    source         text        NOT NULL,  -- serial number of the meter, else of the gateway, else what names it
    page           text        NOT NULL,  -- context and number, such as T7
    payload_sha256 bytea       NOT NULL CHECK (octet_length(payload_sha256) = 32),
    session_id     uuid        NOT NULL,
    cdr_id         text        NOT NULL,
    claimed_at     timestamptz NOT NULL,
    PRIMARY KEY (party_id, source, page)
);
