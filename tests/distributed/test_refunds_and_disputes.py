"""Refunds, disputes and increments over HTTP: the tests of one machine on a distributed database."""

from tests.integration.test_api_after_capture import *  # noqa: F403 - their fixtures, too
