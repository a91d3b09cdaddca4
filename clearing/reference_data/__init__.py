"""Parties, agreements and rates that sessions are cleared with, and the dated data shipped with clearing."""
