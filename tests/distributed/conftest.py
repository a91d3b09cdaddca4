"""Tests here run on a Citus cluster, where CITUS_DSN names its coordinator.

Each has a distributed database of its own.
"""

from collections.abc import Iterator

import pytest

from tests.conftest import run_apart
from tests.fakes import citus


@pytest.fixture(scope="session")
def distributed_template() -> Iterator[str]:
    """A database that is migrated and distributed once; each test's is copied from it on every node."""
    if not citus.CITUS_DSN:
        pytest.skip("CITUS_DSN names no Citus coordinator")
    yield run_apart(citus.make_template())
    run_apart(citus.drop_template())


@pytest.fixture
def database_url(distributed_template: str) -> Iterator[str]:
    """The address of a fresh, distributed database of this test's own, in place of the embedded one."""
    name, dsn = run_apart(citus.copy_template(distributed_template))
    yield dsn
    run_apart(citus.drop_database(name))
