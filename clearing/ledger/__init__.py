"""The ledger: accounts, transfers, entries, the hash chain, balances, account statements, closed periods."""
