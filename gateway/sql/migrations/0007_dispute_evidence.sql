-- Evidence against a dispute: what staff gave, and whether its deadline was announced.

ALTER TABLE gateway.dispute
    ADD COLUMN evidence jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN announced_at timestamptz;                       -- the deadline's event was written
CREATE INDEX dispute_response_due ON gateway.dispute (respond_by) WHERE response = 'needed';
