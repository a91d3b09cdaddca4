"""The repository of Plug & Charge: rows in, values out; the only place that loads SQL."""
