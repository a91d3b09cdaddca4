"""Refunds and disputes over HTTP, as on one machine, on a distributed database."""

from tests.integration.test_api_after_capture import *  # noqa: F403 - the same tests on another database
