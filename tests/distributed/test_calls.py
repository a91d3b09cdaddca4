"""The two calls, funded accounts and tasks: the tests of one machine on a distributed database."""

from tests.integration.test_statements_per_session import *  # noqa: F403 - their fixtures, too
