"""The embedded PostgreSQL: its lifecycle and its files."""
