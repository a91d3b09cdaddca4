-- Age limits of exceptions that differ from the defaults in gateway/exceptions/due.py.

-- From when an exception of a kind is overdue, hours after its cause arose; a kind without a row has its default.
CREATE TABLE gateway.exception_age_limit (
    kind   text        PRIMARY KEY,
    hours  integer     NOT NULL CHECK (hours BETWEEN 1 AND 8760),
    set_by text        NOT NULL CHECK (set_by <> ''),
    set_at timestamptz NOT NULL
);
