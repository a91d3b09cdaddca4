"""What people and banks do: payout decisions, payment files and bank answers, reconciliation."""
