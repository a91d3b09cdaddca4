"""Payout use cases: each owns its transaction and the events of what it changes."""
