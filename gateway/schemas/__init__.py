"""The public objects of the API and of events, by subject."""
