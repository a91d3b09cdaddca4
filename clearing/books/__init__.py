"""The general ledger as files for accountants: journal, trial balance, VAT figures."""
