"""Settlement statements: lines, balances and hashes of one disbursement."""
