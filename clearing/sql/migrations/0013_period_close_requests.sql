-- Closing a period while something stands open needs a second person.

-- Who asked to close the books up to an instant while something stood open, and who confirmed it.
CREATE TABLE clearing.period_close_request (
    closed_until timestamptz PRIMARY KEY,  -- exclusive
    requested_by text        NOT NULL,
    requested_at timestamptz NOT NULL,
    open_points  integer     NOT NULL CHECK (open_points > 0),  -- when it was requested
    confirmed_by text        CHECK (confirmed_by <> requested_by),
    confirmed_at timestamptz,
    CHECK ((confirmed_by IS NULL) = (confirmed_at IS NULL))
);
