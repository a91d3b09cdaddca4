"""The exceptions queue: all that stopped and waits for a person, in one list."""
