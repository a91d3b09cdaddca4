"""Invoices and receipts: issued, numbered, stored, as XML and as pages."""
