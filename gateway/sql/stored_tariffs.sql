-- Frozen tariffs as they are stored.

-- name: tariffs
-- Each tariff once, however many sessions it priced.
SELECT sha256, canonical, version FROM gateway.tariff_snapshot WHERE sha256 = ANY(:hashes::text[]);
