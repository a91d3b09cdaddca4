-- CDRs are checked before they are priced and captured. Ids are compared as OCPI's CiString.

CREATE INDEX session_lookup_folded ON gateway.session_lookup (lower(foreign_id)) WHERE kind = 'session_ref';
-- The party's part of a name is upper case, the CDR's is folded.
UPDATE gateway.session_lookup
SET foreign_id = regexp_replace(foreign_id, ':.*$', '') || ':' || lower(regexp_replace(foreign_id, '^[^:]*:', ''))
WHERE kind = 'cdr';

-- What the checks compare with is fixed when the session is authorized.
ALTER TABLE gateway.session ADD COLUMN evse_uid text;          -- the EVSE's uid at its CPO
ALTER TABLE gateway.session ADD COLUMN evse_power_w bigint;    -- the most that a connector of it gives; null: unknown
ALTER TABLE gateway.session ADD COLUMN power_type text;        -- OCPI's PowerType
CREATE INDEX session_evse ON gateway.session (cpo_id, evse_id, ended_at) WHERE cdr IS NOT NULL;

-- The limits of the checks that were set for a CPO, or with the platform's id for all: dated, never changed.
CREATE TABLE gateway.cdr_limit (
    party_id   text        NOT NULL REFERENCES gateway.party (id),
    name       text        NOT NULL,  -- those of clearing/cdr_checks/limits.py
    valid_from timestamptz NOT NULL,
    value      numeric     NOT NULL CHECK (value >= 0),
    set_by     text        NOT NULL CHECK (set_by <> ''),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (party_id, name, valid_from)
);

-- Usage of a session, a CDR or metered, that a check has found odd: a person decides, until then nothing is captured.
CREATE TABLE gateway.stated_usage (
    shard         smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    id            uuid        NOT NULL CHECK (shard = get_byte(uuid_send(id), 15) & 63),
    session_id    uuid        NOT NULL,
    cpo_id        text        NOT NULL,
    source        text        NOT NULL CHECK (source IN ('operator_cdr', 'api')),
    cdr_id        text        NOT NULL,
    cdr_key       text        NOT NULL CHECK (cdr_key = lower(cdr_key)),
    cdr_version   text        NOT NULL CHECK (cdr_version IN ('2.1.1', '2.2.1', '2.3.0')),
    cdr           bytea       NOT NULL,
    state         text        NOT NULL CHECK (state IN ('exception', 'accepted', 'rejected', 'replaced')),
    reasons       text[]      NOT NULL CHECK (cardinality(reasons) > 0),  -- codes of clearing/cdr_checks/finding.py
    detail        text        NOT NULL,                                   -- the same in words
    currency      char(3)     NOT NULL,
    price_minor   bigint      CHECK (price_minor >= 0),    -- by the frozen tariff; null: it can't be priced
    lower_minor   bigint      CHECK (lower_minor >= 0),    -- the CPO's total, where only the totals differ
    settled_minor bigint      CHECK (settled_minor >= 0),  -- captured before the decision, because the hold was to end
    amount_minor  bigint      CHECK (amount_minor >= 0),   -- what was decided
    decided_by    text,
    received_at   timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (shard, id),
    UNIQUE (shard, session_id, cdr_key),
    FOREIGN KEY (shard, session_id) REFERENCES gateway.session (shard, id),
    CHECK (amount_minor <= price_minor),
    CHECK ((state = 'accepted') = (amount_minor IS NOT NULL)),
    CHECK (state NOT IN ('accepted', 'rejected') OR decided_by IS NOT NULL)
);
CREATE INDEX stated_usage_exception ON gateway.stated_usage (shard, id) WHERE state = 'exception';

ALTER TABLE gateway.ocpi_cdr DROP CONSTRAINT ocpi_cdr_status_check;
ALTER TABLE gateway.ocpi_cdr ADD CHECK (status IN (
    'pending', 'unmatched', 'unpriceable', 'exception', 'completed', 'rejected', 'credit'));
DROP INDEX gateway.ocpi_cdr_queue;
CREATE INDEX ocpi_cdr_queue ON gateway.ocpi_cdr (status, received_at)
    WHERE status NOT IN ('completed', 'rejected', 'credit');

-- A credit CDR waits for the CDR that may take the credited one's place; then it reverses the capture alone.
ALTER TABLE gateway.ocpi_cdr ADD COLUMN credit_state text CHECK (credit_state IN ('pending', 'applied', 'exception'));
UPDATE gateway.ocpi_cdr SET credit_state = 'pending' WHERE credit;
ALTER TABLE gateway.ocpi_cdr ADD CHECK (credit = (credit_state IS NOT NULL));
ALTER TABLE gateway.ocpi_cdr ADD CHECK (credit_state IS DISTINCT FROM 'exception' OR reason IS NOT NULL);
CREATE INDEX ocpi_cdr_credit_open ON gateway.ocpi_cdr (received_at) WHERE credit_state IN ('pending', 'exception');
