"""Registers and sources outside: VIES, the ECB, OCSP and CRLs over HTTP."""
