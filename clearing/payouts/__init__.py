"""Disbursements: states, netting, reserves, cancellation, rescheduling, the payout calendar."""
