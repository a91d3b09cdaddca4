-- The answer comes milliseconds after its claim, while the page is still being filled: little space kept for it is
-- enough, and a day of keys takes half the disk.
ALTER TABLE gateway.idempotency_key SET (fillfactor = 70);
