"""Paying out as values: states, netting, reserves, the calendar ahead."""
