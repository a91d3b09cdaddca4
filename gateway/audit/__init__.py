"""The audit: everything recomputed, or the day alone from a sealed checkpoint; the PSP's record beside it."""
