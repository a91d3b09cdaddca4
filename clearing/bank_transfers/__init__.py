"""The bank as a rail: payment files out, bank messages in."""
