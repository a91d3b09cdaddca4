-- What each API key asked of the API, for its developers: no body, no query and no value of a path. Kept for days.
CREATE TABLE gateway.request_log (
    id           uuid        PRIMARY KEY,  -- UUIDv7: the order of the list
    party_id     text        NOT NULL,     -- whose key it was
    key_prefix   text        NOT NULL,
    request_id   text        NOT NULL,     -- ours, or the caller's X-Request-Id
    method       text        NOT NULL,
    route        text        NOT NULL,     -- the path's form, such as /v1/sessions/{id}
    status       smallint    NOT NULL,
    duration_ms  integer     NOT NULL,
    error_code   text,                     -- `code` of the problem; null: no problem
    requested_at timestamptz NOT NULL      -- wall time
);
CREATE INDEX request_log_party ON gateway.request_log (party_id, id);
CREATE INDEX request_log_request ON gateway.request_log (request_id);
CREATE INDEX request_log_age ON gateway.request_log USING brin (requested_at);
