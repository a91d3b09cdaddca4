-- Drivers' tokens and CPOs' authorization requests about them.

-- name: save_token$
INSERT INTO gateway.ocpi_token
    (uid_key, type, uid, country_code, party_code, contract_id, visual_number, issuer, group_id, valid, whitelist,
     language, demand_partner_id, payment, last_updated, blocked_since)
VALUES (:uid_key, :type, :uid, :country_code, :party_code, :contract_id, :visual_number, :issuer, :group_id, :valid::boolean,
        :whitelist, :language, :demand_partner_id, :payment, :last_updated::timestamptz,
        CASE WHEN NOT :valid::boolean THEN :last_updated::timestamptz END)
ON CONFLICT (uid_key, type) DO UPDATE
SET uid = EXCLUDED.uid, country_code = EXCLUDED.country_code, party_code = EXCLUDED.party_code,
    contract_id = EXCLUDED.contract_id, visual_number = EXCLUDED.visual_number, issuer = EXCLUDED.issuer,
    group_id = EXCLUDED.group_id, valid = EXCLUDED.valid, whitelist = EXCLUDED.whitelist,
    language = EXCLUDED.language, payment = EXCLUDED.payment, last_updated = EXCLUDED.last_updated,
    blocked_since = CASE WHEN NOT EXCLUDED.valid THEN coalesce(ocpi_token.blocked_since, EXCLUDED.blocked_since) END
WHERE ocpi_token.demand_partner_id = EXCLUDED.demand_partner_id
RETURNING uid_key;

-- name: load_token^
SELECT uid, type, country_code, party_code, contract_id, visual_number, issuer, group_id, valid, whitelist, language,
       demand_partner_id, payment, last_updated, blocked_since
FROM gateway.ocpi_token
WHERE uid_key = :uid_key AND type = :type;

-- name: token_of_contract^
SELECT uid, type, country_code, party_code, contract_id, visual_number, issuer, group_id, valid, whitelist, language,
       demand_partner_id, payment, last_updated, blocked_since
FROM gateway.ocpi_token
WHERE lower(contract_id) = :contract_key
ORDER BY last_updated DESC, uid_key, type
LIMIT 1;

-- name: tokens_of
SELECT uid, type, country_code, party_code, contract_id, visual_number, issuer, group_id, valid, whitelist, language,
       demand_partner_id, payment, last_updated, blocked_since
FROM gateway.ocpi_token
WHERE (:party_id::text IS NULL OR demand_partner_id = :party_id::text)
  AND (uid_key, type) > (:after_uid::text, :after_type::text) AND type = ANY(:types::text[])
ORDER BY uid_key, type
LIMIT :row_limit::int;

-- name: list_tokens
SELECT uid, type, country_code, party_code, contract_id, visual_number, issuer, group_id, valid, whitelist, language,
       demand_partner_id, payment, last_updated, blocked_since
FROM gateway.ocpi_token
WHERE (:date_from::timestamptz IS NULL OR last_updated >= :date_from::timestamptz)
  AND (:date_to::timestamptz IS NULL OR last_updated < :date_to::timestamptz)
ORDER BY last_updated, uid_key, type
LIMIT :row_limit::int OFFSET :row_offset::bigint;

-- name: count_tokens$
SELECT count(*) FROM gateway.ocpi_token
WHERE (:date_from::timestamptz IS NULL OR last_updated >= :date_from::timestamptz)
  AND (:date_to::timestamptz IS NULL OR last_updated < :date_to::timestamptz);

-- name: lock_request^
-- One question at a time about one token at one EVSE, until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended(
    :cpo_id::text || ' ' || :uid_key::text || ' ' || :type::text || ' ' || :evse_uid_key::text, 4801));

-- name: recent_request$
SELECT authorization_id FROM gateway.ocpi_token_authorization
WHERE cpo_id = :cpo_id AND uid_key = :uid_key AND type = :type AND evse_uid_key = :evse_uid_key
  AND requested_at > :since
ORDER BY requested_at DESC
LIMIT 1;

-- name: request_at$
SELECT authorization_id FROM gateway.ocpi_token_authorization
WHERE cpo_id = :cpo_id AND uid_key = :uid_key AND type = :type AND evse_uid_key = :evse_uid_key AND requested_at = :at
ORDER BY authorization_id DESC
LIMIT 1;

-- name: add_request!
INSERT INTO gateway.ocpi_token_authorization (authorization_id, cpo_id, uid_key, type, evse_uid_key, requested_at)
VALUES (:authorization_id, :cpo_id, :uid_key, :type, :evse_uid_key, :now);

-- name: emaid_place^
SELECT change_transaction, change_sequence FROM gateway.ocpi_emaid_feed WHERE environment = :environment;

-- name: move_emaid_place$
-- From the place the caller read, so that each change becomes a token once.
INSERT INTO gateway.ocpi_emaid_feed AS f (environment, change_transaction, change_sequence, updated_at)
VALUES (:environment, :after_transaction, :after_sequence, :now)
ON CONFLICT (environment) DO UPDATE
SET change_transaction = EXCLUDED.change_transaction, change_sequence = EXCLUDED.change_sequence,
    updated_at = EXCLUDED.updated_at
WHERE f.change_transaction = :before_transaction::bigint AND f.change_sequence = :before_sequence::bigint
RETURNING environment;
