"""Who takes part: parties, agreements, keys, certificates, events and webhooks."""
