-- What a person looks for again and again on one of the console's lists: the filters under a name.

-- A saved view of one list; `shared` shows it to every person of the party. Only its own person changes it.
CREATE TABLE gateway.saved_view (
    id         uuid        PRIMARY KEY,
    person_id  uuid        NOT NULL REFERENCES gateway.person (id),
    party_id   text        NOT NULL REFERENCES gateway.party (id),
    list       text        NOT NULL CHECK (list ~ '^[a-z-]{1,40}$'),
    name       text        NOT NULL CHECK (length(name) BETWEEN 1 AND 60),
    filters    jsonb       NOT NULL CHECK (jsonb_typeof(filters) = 'object'),
    shared     boolean     NOT NULL,
    created_at timestamptz NOT NULL,           -- wall time, as all times of sign-in
    UNIQUE (person_id, list, name)
);
CREATE INDEX saved_view_party ON gateway.saved_view (party_id, list) WHERE shared;
