"""The market: a seeded day of charging, run through the public interfaces only.

Owns the participants, their tariffs, the plan of a day, the clients that run it, and the report of its
results.
Must not know: the gateway's tables, services or state machines; it sees what any partner sees over HTTP.
"""
