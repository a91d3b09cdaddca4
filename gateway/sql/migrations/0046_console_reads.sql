-- What the console reads that no request of the API reads: events of one object, and payments by time.

CREATE INDEX event_object ON gateway.event (shard, object_id);
-- Small, and nearly free to keep: rows come in the order of their times.
CREATE INDEX capture_by_time ON gateway.capture USING brin (captured_at);
CREATE INDEX refund_by_time ON gateway.refund USING brin (finished_at);
CREATE INDEX payment_authorization_by_time ON gateway.payment_authorization USING brin (created_at);
