"""The daily audit of sessions and funded accounts: the tests of one machine on a distributed database."""

from tests.integration.test_daily_audit_sessions import *  # noqa: F403 - their fixtures, too
