-- Who stated a session's usage stands on the session. Where the operator sends CDRs, the payer's is provisional.

ALTER TABLE gateway.session ADD COLUMN stated_by text CHECK (stated_by IN (  -- null: not ended, or ended before this
    'operator_cdr', 'operator_session', 'operator_api', 'platform', 'payer'));

-- What the payer stated of a session whose billing record is the operator's CDR: it is compared with the CDR, and is
-- captured when no CDR comes.
CREATE TABLE gateway.provisional_usage (
    shard       smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id  uuid        NOT NULL,
    party_id    text        NOT NULL REFERENCES gateway.party (id),  -- whose key stated it
    cdr_version text        NOT NULL CHECK (cdr_version IN ('2.1.1', '2.2.1', '2.3.0')),
    cdr         bytea       NOT NULL,
    price_minor bigint      NOT NULL CHECK (price_minor >= 0),       -- by the frozen tariff
    energy_wh   bigint      NOT NULL CHECK (energy_wh >= 0),
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL CHECK (ended_at >= started_at),
    stated_at   timestamptz NOT NULL,
    PRIMARY KEY (shard, session_id),
    FOREIGN KEY (shard, session_id) REFERENCES gateway.session (shard, id)
);

-- Usage by API was kept without who stated it: it counts as the payer's, which no CDR has to give way to.
ALTER TABLE gateway.stated_usage DROP CONSTRAINT stated_usage_source_check;
UPDATE gateway.stated_usage SET source = 'payer' WHERE source = 'api';
ALTER TABLE gateway.stated_usage ADD CHECK (source IN ('operator_cdr', 'operator_api', 'platform', 'payer'));

-- What is captured when nobody has decided before the hold ends; until now the lower amount was.
ALTER TABLE gateway.stated_usage ADD COLUMN in_time_minor bigint CHECK (in_time_minor >= 0);
UPDATE gateway.stated_usage SET in_time_minor = lower_minor;
