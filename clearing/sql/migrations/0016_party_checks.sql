-- Evidence that a party is who it says it is, and payout holds of parties that lack it.

-- One row for each check, never changed: a later check of the kind takes the place of an earlier one.
CREATE TABLE clearing.party_check (
    id              uuid        PRIMARY KEY,
    party_id        text        NOT NULL REFERENCES clearing.party,
    kind            text        NOT NULL CHECK (kind IN ('commercial_register', 'beneficial_owners',
        'representative_identity', 'payee_name', 'sanctions_screening')),
    result          text        NOT NULL,
    performed_by    text        NOT NULL CHECK (performed_by <> ''),  -- the person or service that did it
    checked_on      date        NOT NULL,
    valid_until     date        CHECK (valid_until > checked_on),     -- exclusive; null: until there is a later one
    reference       text        NOT NULL,                             -- extract, file or screening run
    note            text        NOT NULL,
    details_version integer,                                          -- the bank details of a payee name
    confirms        uuid        REFERENCES clearing.party_check,      -- by a second person: it did not match
    recorded_by     text        NOT NULL,
    recorded_at     timestamptz NOT NULL,
    position        bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,  -- the order of recording
    CHECK (CASE WHEN kind = 'payee_name' THEN result IN ('match', 'close_match', 'no_match', 'not_possible')
           ELSE result IN ('passed', 'failed') END),
    CHECK ((kind = 'payee_name') = (details_version IS NOT NULL)),
    CHECK (confirms IS NULL OR (result = 'no_match' AND note <> '')),
    FOREIGN KEY (party_id, details_version) REFERENCES clearing.bank_details (party_id, version)
);
CREATE INDEX party_check_of_party ON clearing.party_check (party_id, kind, position DESC);

-- A hold with a cause is placed and lifted by that cause alone.
ALTER TABLE clearing.payout_hold ADD COLUMN cause text CHECK (cause IN ('party_checks'));
