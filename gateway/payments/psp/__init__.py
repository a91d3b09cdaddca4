"""The payment service provider: the port, and one folder per provider."""
