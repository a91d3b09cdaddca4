"""The ledger's grammar: accounts, transfers, entries, the hash chain and statements that prove themselves."""
