"""Acts of operations whose rows lie on a node: the tests of one machine on a distributed database."""

from tests.integration.test_acts_of_operations import *  # noqa: F403 - their fixtures, too
