-- What a statement of the two calls does elsewhere than beside its session, in a distributed database. Each is run at the
-- coordinator, in the transaction of the statement that runs beside the shard; the names begin with that statement's.
-- `is_whole`: the rows of the coordinator decide, so that the statement runs there as it does on one PostgreSQL.

-- name: open_authorization_is_whole$
-- The payment method is another party's, or was removed.
SELECT EXISTS (
    SELECT 1 FROM gateway.payment_method
    WHERE psp_method = :payment_method::text AND (party_id <> :party_id::text OR removed_at IS NOT NULL)
);

-- name: open_authorization_before!
-- The frozen tariff, which the first session by it stores.
INSERT INTO gateway.tariff_snapshot (sha256, version, canonical, currency, created_at)
SELECT :tariff_sha256::text, :tariff_version::text, :tariff_canonical::bytea, :currency::char(3), :now::timestamptz
WHERE NOT EXISTS (SELECT 1 FROM gateway.tariff_snapshot WHERE sha256 = :tariff_sha256::text)
ON CONFLICT (sha256) DO NOTHING;

-- name: open_authorization_is_named$
SELECT :new_session::boolean AND :session_name::text IS NOT NULL;

-- name: open_authorization_lookup!
INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
VALUES ('session_ref', :session_name::text, :shard::smallint, :session_id::uuid);

-- name: record_hold_is_named$
SELECT :psp_payment::text IS NOT NULL;

-- name: record_hold_lookup!
INSERT INTO gateway.session_lookup (kind, foreign_id, shard, session_id)
VALUES ('psp_payment', :psp_payment::text, :shard::smallint, :session_id::uuid)
ON CONFLICT DO NOTHING;
