-- Payments in bulk: a payable is open or tied to a payment, and the payment alone says whether it is made.
--
-- Rows that say 'paid' were written before; they read as tied to their payment, like 'scheduled' ones.
COMMENT ON COLUMN clearing.payable.state IS
    'open: owed; scheduled: tied to its disbursement, whose state says whether it is paid; paid: the same, of older rows';

-- How often a party's day was tried, and a party's payments: asked for each sum that is due.
CREATE INDEX disbursement_of_period ON clearing.disbursement (party_id, currency, period);
-- Reserves by their party, for the parties of one planning.
CREATE INDEX reserve_of_party ON clearing.reserve (party_id, release_on) WHERE released_at IS NULL;
