"""Reconciliation over HTTP: differences, suspense, bank messages, receivables."""
