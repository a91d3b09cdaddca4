-- A refund that the card's bank sent back: every transfer of the refund is taken back by an entry of its own.
ALTER TABLE clearing.entry DROP CONSTRAINT entry_kind_check;
ALTER TABLE clearing.entry ADD CONSTRAINT entry_kind_check CHECK (kind IN (
    'capture', 'reversal', 'refund', 'refund_failed', 'dispute', 'dispute_won', 'topup', 'partner_funding',
    'disbursement', 'disbursement_return', 'fx_result'));
