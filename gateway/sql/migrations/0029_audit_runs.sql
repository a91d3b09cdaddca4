-- What the last audits came to, so that status, metrics and audit say the same.
CREATE TABLE gateway.audit_run (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    finished_at timestamptz NOT NULL,  -- wall time
    result      text        NOT NULL CHECK (result IN ('agrees', 'differs', 'not_compared')),
    checks      text[]      NOT NULL,  -- names of the checks that did not agree
    CHECK ((result = 'agrees') = (cardinality(checks) = 0))
);
