"""Outbound webhooks: events, signing, delivery, retries."""
