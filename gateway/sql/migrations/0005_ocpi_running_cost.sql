-- Running sessions whose cost is to be compared with what is held, written with the session's update.
CREATE TABLE gateway.ocpi_session_due (
    party_id     text NOT NULL,
    session_key  text NOT NULL,
    due_at       timestamptz NOT NULL,                      -- wall time; a worker that takes it moves it on
    attempts     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (party_id, session_key),
    FOREIGN KEY (party_id, session_key) REFERENCES gateway.ocpi_session (party_id, session_key)
);
CREATE INDEX ocpi_session_due_at ON gateway.ocpi_session_due (due_at);
