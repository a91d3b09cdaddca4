"""What the fault run strikes, and how it reads memory."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.chaos.__main__ import defects
from tests.chaos.faults import Faults
from tests.chaos.memory import MemoryLog, quarters, slope


def test_every_process_and_every_state_of_the_database_and_the_psp_is_struck() -> None:
    stack: Any = SimpleNamespace(pids={})
    names = [fault.name for fault in Faults(stack=stack, http=stack).all()]
    assert set(names) == {
        "gateway killed",
        "worker-1 killed",
        "worker-2 killed",
        "postgres killed",
        "sandbox-psp killed",
        "database paused",
        "database read-only",
        "database full",
        "connections used up",
        "PSP late",
        "PSP failing",
        "PSP silent after the act",
    }
    assert len(names) == len(set(names))


def test_memory_that_levels_has_no_slope_and_one_that_rises_has_it_an_hour() -> None:
    level = [(float(at), 100.0) for at in range(100)]
    rising = [(float(at), 100.0 + at / 60) for at in range(100)]
    assert slope(level) == 0
    assert round(slope(rising)) == 60
    assert quarters(rising)[0] == "100.0"
    log = MemoryLog(pids=dict)
    log.samples = {("worker-1", 1): level[:10], ("worker-1", 2): rising, ("gateway", 3): level}
    assert [(row[0], row[-1]) for row in log.rows()] == [("gateway", "+0.0"), ("worker-1", "+60.0")]


def test_a_traceback_or_a_failed_request_in_a_log_is_a_defect(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"event": "job_failed", "reason": "DiskFullError"},
        {"event": "task_failed", "exception": [{"exc_type": "ValueError"}]},
        {"event": "request_failed"},
        {"event": "request_failed"},
    ]
    (tmp_path / "worker-1.log").write_text(
        "\n".join(map(json.dumps, lines)) + "\nno JSON\n", encoding="utf-8"
    )
    (tmp_path / "sandbox-psp.log").write_text(json.dumps(lines[2]) + "\n", encoding="utf-8")
    found = defects(tmp_path)
    assert [line.split(" (")[1] for line in found] == ["1 times)", "2 times)"]
