"""Stripe behind the PSP port: its requests, objects, events and amount rules."""
