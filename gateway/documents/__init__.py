"""Use cases of documents: each owns its transaction."""
