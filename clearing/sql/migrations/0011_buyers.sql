-- Businesses that buy charging sessions: drivers' invoices are in their names.

ALTER TABLE clearing.party DROP CONSTRAINT party_kind_check;
ALTER TABLE clearing.party ADD CONSTRAINT party_kind_check CHECK (kind IN (
    'platform', 'cpo', 'demand_partner', 'emsp', 'site_host', 'buyer'));
