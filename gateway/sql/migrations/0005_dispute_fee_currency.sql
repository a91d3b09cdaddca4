-- A dispute's fee has the currency of the PSP's movement that charged it, which may differ from the dispute's own.

ALTER TABLE gateway.dispute ADD COLUMN fee_currency char(3);
UPDATE gateway.dispute SET fee_currency = currency;
ALTER TABLE gateway.dispute ALTER COLUMN fee_currency SET NOT NULL;
