"""Disbursements and their settlement statements: the tests of one machine on a distributed database."""

from tests.integration.test_api_settlement_statements import *  # noqa: F403 - their fixtures, too
