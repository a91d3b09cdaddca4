"""Parties of the platform in PostgreSQL: API keys, principals, client certificates, site hosts."""
