-- outside a transaction
-- Entries by the time of their booking: a range of the console's figures reads its own blocks, not the whole journal.
-- Small, and nearly free to keep: rows come in the order of their times.

CREATE INDEX CONCURRENTLY entry_by_time ON clearing.entry USING brin (booked_at);
