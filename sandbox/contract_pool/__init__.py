"""A stand-in for a contract certificate pool: what it answers, and the events that it sends."""
