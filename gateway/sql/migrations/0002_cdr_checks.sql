-- CDRs are checked before they are priced and captured. Ids are compared as OCPI's CiString.

CREATE INDEX session_lookup_folded ON gateway.session_lookup (lower(foreign_id)) WHERE kind = 'session_ref';
-- The party's part of a name is upper case, the CDR's is folded.
UPDATE gateway.session_lookup
SET foreign_id = regexp_replace(foreign_id, ':.*$', '') || ':' || lower(regexp_replace(foreign_id, '^[^:]*:', ''))
WHERE kind = 'cdr';
