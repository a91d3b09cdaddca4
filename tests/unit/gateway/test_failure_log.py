"""An outage is a line in the log, a defect a line with its traceback."""

from typing import Any

import asyncpg
import pytest

from gateway.failure_log import is_transient, log_failure
from gateway.jobs.clearing import _may_pass

OUTAGES: list[BaseException] = [
    asyncpg.DiskFullError("full"),
    asyncpg.CannotConnectNowError("starting"),
    asyncpg.ReadOnlySQLTransactionError("read-only"),
    asyncpg.InternalClientError("another operation is in progress"),
    asyncpg.LockNotAvailableError("locked"),
    ConnectionRefusedError(111, "refused"),
]
DEFECTS: list[BaseException] = [ValueError("wrong"), asyncpg.CheckViolationError("broken")]


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
def test_an_outage_is_one_line_alone_and_in_a_group(error: Exception) -> None:
    log = Log()
    group = ExceptionGroup("several", [error, ExceptionGroup("inner", [error])])
    for one in (error, group):
        assert is_transient(one)
        log_failure(log, "task_failed", one, kind="capture")
    assert [(level, event) for level, event, _ in log.lines] == [("warning", "task_failed")] * 2
    assert all(
        "exc_info" not in fields and type(error).__name__ in fields["reason"] for *_, fields in log.lines
    )


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
def test_a_defect_has_its_traceback_also_beside_outages(error: Exception) -> None:
    log = Log()
    for one in (error, ExceptionGroup("several", [OUTAGES[0], error])):  # type: ignore[list-item]
        assert not is_transient(one)
        log_failure(log, "task_failed", one)
    assert [(level, fields["exc_info"] is not None) for level, _, fields in log.lines] == [
        ("error", True)
    ] * 2


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
def test_no_session_is_an_exception_because_of_an_outage(error: Exception) -> None:
    assert _may_pass(error)
