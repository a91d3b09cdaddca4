"""The market: a seeded day of charging, played through the public interfaces only.

Owns the cast, their tariffs, the plan of a day, the clients that play it, and the report of what came of it.
Must not know: the gateway's tables, services or state machines; it sees what any partner sees over HTTP.
"""
