"""Sanctions screening: lists of names, and what is alike."""
