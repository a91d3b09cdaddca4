"""Dated clearing calendars, each row with its source."""
