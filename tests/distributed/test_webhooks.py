"""Webhooks over HTTP: the tests of one machine on a distributed database."""

from tests.integration.test_webhooks import *  # noqa: F403 - their fixtures, too
