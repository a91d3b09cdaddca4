-- What proves how a difference was resolved: attached by people, kept with the books.

-- A file, or a reference to where the evidence is. Rows are added, and none is changed or deleted.
CREATE TABLE clearing.difference_evidence (
    id            uuid        PRIMARY KEY,
    difference_id uuid        NOT NULL REFERENCES clearing.reconciliation_difference (id),
    name          text        NOT NULL CHECK (length(name) <= 140),
    content_type  text        CHECK (content_type IN ('application/pdf', 'image/png', 'image/jpeg', 'text/plain')),
    content       bytea       CHECK (octet_length(content) BETWEEN 1 AND 700000),
    reference     text        CHECK (length(reference) BETWEEN 1 AND 500),
    sha256        bytea       NOT NULL,  -- of the content, or of the reference in UTF-8
    added_by      text        NOT NULL CHECK (added_by <> ''),
    added_at      timestamptz NOT NULL,
    UNIQUE (difference_id, sha256),
    CHECK ((content IS NULL) <> (reference IS NULL)),
    CHECK ((content IS NULL) = (content_type IS NULL)),
    CHECK (sha256 = sha256(coalesce(content, convert_to(reference, 'UTF8'))))
);
