-- Pulled lists are read whole or said to be short; rejected messages show where they were sent.

ALTER TABLE gateway.ocpi_pull
    ADD COLUMN total      integer,                         -- X-Total-Count of the current run; null: none given
    ADD COLUMN list_short boolean NOT NULL DEFAULT false;  -- the last run found fewer objects than the list has

ALTER TABLE gateway.ocpi_rejected_push
    ADD COLUMN url    text NOT NULL DEFAULT '',      -- path of the push, or address of the page that was pulled
    ADD COLUMN pulled boolean NOT NULL DEFAULT false;  -- read by us: its sender has had no answer

ALTER TABLE gateway.ocpi_peer
    ADD COLUMN stale_pushes bigint NOT NULL DEFAULT 0;  -- pushes that were older than what is kept, and ignored

CREATE INDEX ocpi_rejected_push_pulled ON gateway.ocpi_rejected_push (party_id, lower(object_id))
    WHERE pulled AND module = 'cdrs';
