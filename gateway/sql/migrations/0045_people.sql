-- People who sign in to the console, the links and sessions by which they do, and the record of what they did.

-- A person of one party with one role. Access ends with `revoked_at`; the row stays, because decisions name it.
CREATE TABLE gateway.person (
    id         uuid        PRIMARY KEY,
    party_id   text        NOT NULL REFERENCES gateway.party (id),
    email      text        NOT NULL CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    name       text        NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    role       text        NOT NULL CHECK (role IN ('viewer', 'developer', 'support', 'finance', 'administrator')),
    issuer     text,                           -- the OpenID provider and its name for the person, once signed in
    subject    text,
    created_at timestamptz NOT NULL,           -- wall time, as all times of sign-in
    created_by text        NOT NULL CHECK (created_by <> ''),
    revoked_at timestamptz,
    revoked_by text,
    CHECK ((issuer IS NULL) = (subject IS NULL)),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE UNIQUE INDEX person_email ON gateway.person (email) WHERE revoked_at IS NULL;
CREATE UNIQUE INDEX person_subject ON gateway.person (issuer, subject) WHERE revoked_at IS NULL;
CREATE INDEX person_party ON gateway.person (party_id, id);

-- A one-time link: only the SHA-256 of its 256 random bits is kept.
CREATE TABLE gateway.person_link (
    token_sha256 bytea       PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    person_id    uuid        NOT NULL REFERENCES gateway.person (id),
    created_at   timestamptz NOT NULL,
    created_by   text        NOT NULL CHECK (created_by <> ''),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz
);
CREATE INDEX person_link_person ON gateway.person_link (person_id);

-- A browser that is signed in: only the SHA-256 of its cookie is kept. It ends idle, at `expires_at`, or by hand.
CREATE TABLE gateway.person_session (
    token_sha256 bytea       PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    person_id    uuid        NOT NULL REFERENCES gateway.person (id),
    method       text        NOT NULL CHECK (method IN ('link', 'oidc')),
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz
);
CREATE INDEX person_session_person ON gateway.person_session (person_id) WHERE ended_at IS NULL;

-- A sign-in under way at the OpenID provider, bound to the browser that began it.
CREATE TABLE gateway.sign_in_attempt (
    state_sha256   bytea       PRIMARY KEY CHECK (octet_length(state_sha256) = 32),
    browser_sha256 bytea       NOT NULL CHECK (octet_length(browser_sha256) = 32),
    nonce          text        NOT NULL,
    code_verifier  text        NOT NULL,
    expires_at     timestamptz NOT NULL
);

-- What people did in the console: signed in and out, and each act with the status that answered it.
CREATE TABLE gateway.person_act (
    id         uuid        PRIMARY KEY,
    person_id  uuid        NOT NULL REFERENCES gateway.person (id),
    party_id   text        NOT NULL REFERENCES gateway.party (id),
    operation  text        NOT NULL CHECK (operation <> ''),  -- the API's operation, or 'signIn', 'signOut'
    subject    text        NOT NULL,                          -- what it was done to, '' where nothing is named
    status     smallint    NOT NULL,                          -- of the answer, as HTTP counts
    acted_at   timestamptz NOT NULL
);
CREATE INDEX person_act_party ON gateway.person_act (party_id, id);
