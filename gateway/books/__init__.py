"""The books for people: exports, closing a period, the treasurer's balances."""
