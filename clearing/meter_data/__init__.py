"""Signed meter data: what a meter signed about a session, and whether a CDR says the same."""
