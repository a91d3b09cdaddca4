"""Who takes part and on what terms: seats, agreements, payout terms, bank accounts."""
