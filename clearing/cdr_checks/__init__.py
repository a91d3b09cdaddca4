"""Checks of a CDR before it is priced and captured: pure rules, dated limits, coded findings."""
