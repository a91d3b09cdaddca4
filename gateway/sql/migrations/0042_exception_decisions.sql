-- Above the approval limit two people decide about an exception: what the first has proposed waits here.

-- One proposal for each exception; another one takes its place. It is deleted when it is carried out.
CREATE TABLE gateway.exception_proposal (
    exception_id uuid        PRIMARY KEY REFERENCES gateway.exception (id),
    action       text        CHECK (action <> ''),        -- null: end it by the reason
    amount_minor bigint      CHECK (amount_minor >= 0),
    note         text        NOT NULL,
    proposed_by  text        NOT NULL CHECK (proposed_by <> ''),
    proposed_at  timestamptz NOT NULL
);

ALTER TABLE gateway.exception_event DROP CONSTRAINT exception_event_kind_check;
ALTER TABLE gateway.exception_event ADD CONSTRAINT exception_event_kind_check CHECK (kind IN (
    'opened', 'changed', 'assigned', 'proposed', 'retried', 'resolved'));
