"""Parties and their terms: registrations, agreements, payout terms, bank details."""
