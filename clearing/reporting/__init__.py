"""Read models for the gateway."""
