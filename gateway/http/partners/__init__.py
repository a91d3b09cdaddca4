"""Who takes part: parties, agreements, keys, certificates, and how they hear of events."""
