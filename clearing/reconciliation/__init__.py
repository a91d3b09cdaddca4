"""Three-way reconciliation of our books, the PSP's balance transactions and the bank's lines.

Owns: what agrees, what differs, who investigates it and what to book. Must not know: HTTP, the PSP's SDK.
"""
