"""What a session costs by the CPO's public tariff, and why. Knows no party, no ledger, no store."""
