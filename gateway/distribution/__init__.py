"""Distributes a migrated database over several machines with Citus.

Owns: which table lies where, how a database is brought there, and what of our SQL a distributed database
scatters or rejects. Must not know a session, a payment or a booking. docs/operations/scale-out.md
"""
