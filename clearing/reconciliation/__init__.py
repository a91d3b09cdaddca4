"""Reconciliation, three ways: our books, the PSP's balance transactions, the bank's lines.

Owns: what agrees, what differs, who looks into it and what to book. Must not know: HTTP, the PSP's SDK.
"""
