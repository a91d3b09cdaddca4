"""Dated VAT and FX rates, each row with its source."""
