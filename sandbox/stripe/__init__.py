"""A Stripe-compatible payment service provider in one process: test money, no card data.

It needs no outside account.

Owns: the API's resources, their money rules, signed events, faults on demand. Must not know: sessions,
tariffs, the gateway's own tables. The provider's SDK is never imported here: it is the client that tests
this package.
"""
