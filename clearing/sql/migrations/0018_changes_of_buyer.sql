-- A cleared session is sold to a business that is named later: its sale is cancelled and issued anew, in two entries.

ALTER TABLE clearing.entry DROP CONSTRAINT entry_kind_check;
ALTER TABLE clearing.entry ADD CONSTRAINT entry_kind_check CHECK (kind IN (
    'capture', 'refund', 'refund_failed', 'dispute', 'dispute_won', 'topup', 'partner_funding',
    'disbursement', 'disbursement_return', 'fx_result', 'reserve_withheld', 'reserve_release', 'psp_payout',
    'bank_receipt', 'suspense', 'suspense_cleared', 'fee', 'write_off', 'own_funds', 'receivable_payment',
    'receivable_set_off', 'receivable_write_off', 'remainder_carried', 'remainder_release', 'psp_conversion',
    'topup_reversed', 'sale_cancelled', 'sale_reissued'));
