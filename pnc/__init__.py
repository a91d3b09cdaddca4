"""Plug & Charge: bytes and values in, a verdict out. Knows no HTTP."""
