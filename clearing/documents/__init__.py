"""Invoices and receipts as values, XML and pages. Knows no store."""
