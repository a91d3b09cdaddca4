"""Entries that are copied in, by two writers at once: the tests of one machine on a distributed database."""

from tests.integration.test_clearing_copy import *  # noqa: F403 - their fixtures, too
