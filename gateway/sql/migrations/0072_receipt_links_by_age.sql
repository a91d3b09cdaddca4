-- outside a transaction
-- What the retention looks for is found shard by shard.

CREATE INDEX CONCURRENTLY receipt_link_retained ON gateway.receipt_link (shard, created_at);
