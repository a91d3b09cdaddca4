"""Plug & Charge over HTTP: authorization, contracts, trust."""
