"""Repositories of the gateway: named SQL in, typed values out; the caller owns the transaction."""
