"""Use cases of reconciliation, receivables and bank messages: each owns its transaction."""
