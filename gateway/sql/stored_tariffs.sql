-- Frozen tariffs as they are stored.

-- name: tariffs
-- Each tariff once, however many sessions it priced.
SELECT sha256, canonical, version, currency FROM gateway.tariff_snapshot WHERE sha256 = ANY(:hashes::text[]);
