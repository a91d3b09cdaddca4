"""The record of administrative acts: who changed what, when, and at whose request."""
