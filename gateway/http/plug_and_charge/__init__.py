"""The Plug & Charge hook, and the contracts and trust behind it."""
