-- Parties, their VAT ids and evidence, and agreements.

-- name: renew_epoch!
UPDATE clearing.reference_epoch SET epoch = gen_random_uuid() WHERE name = :name;

-- name: put_party^
-- Renews what may change; a party's id and kind never do. No row: the id is registered as another kind.
INSERT INTO clearing.party AS known (id, kind, name, country, tax_jurisdiction, vat_id, taxable_dealer, small_business,
    self_billing_since, settlement_currency, terms_days, time_zone, cut_off_minute, minimum_payout_minor,
    connected_account, payout_hold, document_cadence, details, created_at, updated_at)
VALUES (:id, :kind, :name, :country, :tax_jurisdiction, :vat_id, :taxable_dealer, :small_business, :self_billing_since,
    :settlement_currency, :terms_days, :time_zone, :cut_off_minute, :minimum_payout_minor, :connected_account,
    :payout_hold, :document_cadence, (:details)::text::jsonb, :now, :now)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, country = excluded.country, tax_jurisdiction = excluded.tax_jurisdiction,
    vat_id = excluded.vat_id, taxable_dealer = excluded.taxable_dealer, small_business = excluded.small_business,
    self_billing_since = excluded.self_billing_since, settlement_currency = excluded.settlement_currency,
    terms_days = excluded.terms_days, time_zone = excluded.time_zone, cut_off_minute = excluded.cut_off_minute,
    minimum_payout_minor = excluded.minimum_payout_minor, connected_account = excluded.connected_account,
    payout_hold = excluded.payout_hold, document_cadence = excluded.document_cadence,
    details = excluded.details, updated_at = excluded.updated_at
WHERE known.kind = excluded.kind
RETURNING id;

-- name: put_vat_evidence!
INSERT INTO clearing.party_vat_evidence (party_id, effective_from, vat_id, valid, source, reference, checked_at)
VALUES (:party_id, :effective_from, :vat_id, :valid, :source, :reference, :checked_at)
ON CONFLICT (party_id, vat_id, effective_from) DO UPDATE SET valid = excluded.valid, source = excluded.source,
    reference = excluded.reference, checked_at = excluded.checked_at;

-- name: parties
SELECT id, kind, name, country, tax_jurisdiction, vat_id, taxable_dealer, small_business, self_billing_since,
       settlement_currency, terms_days, time_zone, cut_off_minute, minimum_payout_minor, connected_account, payout_hold,
       document_cadence, details::text AS details
FROM clearing.party ORDER BY id;

-- name: vat_evidence
SELECT party_id, effective_from, vat_id, valid, source, reference, checked_at
FROM clearing.party_vat_evidence ORDER BY party_id, effective_from;

-- name: forget_vat_registrations!
DELETE FROM clearing.party_vat_registration WHERE party_id = :party_id;

-- name: put_vat_registration!
INSERT INTO clearing.party_vat_registration (party_id, tax_jurisdiction, vat_id, valid_from, valid_to)
VALUES (:party_id, :tax_jurisdiction, :vat_id, :valid_from, :valid_to);

-- name: vat_registrations
SELECT party_id, tax_jurisdiction, vat_id, valid_from, valid_to
FROM clearing.party_vat_registration ORDER BY party_id, tax_jurisdiction, valid_from;

-- name: vat_ids_to_check
-- Ids in use whose last finding is older than :before, those never asked about first. What a register could not answer
-- is checked again after :retry_before. An id out of use is not checked.
SELECT used.party_id, used.vat_id, found.checked_at
FROM (
    SELECT id AS party_id, vat_id FROM clearing.party WHERE vat_id IS NOT NULL
    UNION
    SELECT party_id, vat_id FROM clearing.party_vat_registration WHERE valid_to IS NULL OR valid_to >= :today::date
) AS used
LEFT JOIN LATERAL (
    SELECT max(e.checked_at) AS checked_at FROM clearing.party_vat_evidence AS e
    WHERE e.party_id = used.party_id AND e.vat_id = used.vat_id AND e.source <> 'declared'
) AS found ON true
LEFT JOIN clearing.party_vat_attempt AS tried ON tried.party_id = used.party_id AND tried.vat_id = used.vat_id
WHERE coalesce(found.checked_at, '-infinity') < :before::timestamptz
  AND coalesce(tried.tried_at, '-infinity') < :retry_before::timestamptz
  AND substr(used.vat_id, 1, 2) = ANY (:prefixes::text[])
ORDER BY found.checked_at NULLS FIRST, used.party_id, used.vat_id
LIMIT :limit;

-- name: put_vat_attempt!
INSERT INTO clearing.party_vat_attempt (party_id, vat_id, tried_at, problem) VALUES (:party_id, :vat_id, :now, :problem)
ON CONFLICT (party_id, vat_id) DO UPDATE SET tried_at = excluded.tried_at, problem = excluded.problem;

-- name: last_finding$
SELECT valid FROM clearing.party_vat_evidence WHERE party_id = :party_id AND vat_id = :vat_id
ORDER BY effective_from DESC, checked_at DESC LIMIT 1;

-- name: forget_vat_attempt!
DELETE FROM clearing.party_vat_attempt WHERE party_id = :party_id AND vat_id = :vat_id;

-- name: insert_agreement^
INSERT INTO clearing.agreement (id, version, cpo_id, demand_partner_id, valid_from, valid_until, terms, terms_sha256, created_at)
VALUES (:id, :version, :cpo_id, :demand_partner_id, :valid_from, :valid_until, (:terms)::text::jsonb, :terms_sha256, :now)
ON CONFLICT (id, version) DO NOTHING
RETURNING id;

-- name: agreement_version^
SELECT cpo_id, demand_partner_id, valid_from, valid_until, terms_sha256
FROM clearing.agreement WHERE id = :id AND version = :version;

-- name: agreements
SELECT id, version, cpo_id, demand_partner_id, valid_from, valid_until, terms::text AS terms
FROM clearing.agreement ORDER BY id, version;
