"""Packages for partners' developers, made from the stored description of the API.

Owns: how `docs/openapi.json` becomes a Python package, a TypeScript package and a collection of requests, and
the few modules in them that are written by hand. Must not know: the gateway's code. What is made is not
committed.
"""
