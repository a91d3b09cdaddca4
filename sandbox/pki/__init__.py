"""A Plug & Charge PKI for tests and developers."""
