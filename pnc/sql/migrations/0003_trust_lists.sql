-- Roots that came with the list of a PKI's operator: a later list of the same name retires those it no longer holds.

ALTER TABLE pnc.trust_anchor ADD COLUMN list_name text NOT NULL DEFAULT '';  -- empty: added one by one
