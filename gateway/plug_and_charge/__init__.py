"""The Plug & Charge use cases: authorize a vehicle, send the settlement notice."""
