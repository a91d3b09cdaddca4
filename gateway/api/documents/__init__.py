"""Documents over HTTP: receipts of drivers and invoices between parties."""
