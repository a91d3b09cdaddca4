"""The table that benchmarks fill: a value, its baseline measured in the same run, and the goal.

Owns: the shape of a row, and how a rate is measured. Must not know: what is measured.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

WIDTH = 140  # a table in a log is not folded


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement. `ratio` is value to baseline_value; `goal` is in the unit of `value`."""

    name: str
    value: float
    unit: str
    baseline_name: str
    baseline_value: float
    ratio: float
    goal: float | None = None


def rate(work: Callable[[], object], *, quick: bool) -> float:
    """Calls a second of `work` on one core: the best of many short rounds, as other load only slows one."""
    for _ in range(100):
        work()
    calls, rounds = (50, 20) if quick else (200, 100)
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(calls):
            work()
        best = min(best, time.perf_counter() - began)
    return calls / best


def cpu_times_us(*works: Callable[[], object], quick: bool) -> list[float]:
    """Processor time of one call of each work, in microseconds: the best of many short rounds.

    The works take turns within each round, so that what else runs on the machine slows all of them alike.
    """
    calls, rounds = (50, 30) if quick else (200, 150)
    best = [float("inf")] * len(works)
    for work in works:
        for _ in range(100):
            work()
    for _ in range(rounds):
        for place, work in enumerate(works):
            began = time.thread_time_ns()
            for _ in range(calls):
                work()
            best[place] = min(best[place], (time.thread_time_ns() - began) / 1_000 / calls)
    return best


def share(name: str, cost_us: float, baseline_name: str, baseline_us: float, most: float) -> Row:
    """A cost in processor time as a share of its baseline, both in us; `most` is the goal's share."""
    return Row(
        name=name,
        value=cost_us,
        unit="us",
        baseline_name=baseline_name,
        baseline_value=baseline_us,
        ratio=cost_us / baseline_us,
        goal=most * baseline_us,
    )


def render(rows: list[Row]) -> None:
    """Print the rows as one table."""
    table = Table(title="Benchmarks: each ratio is to a baseline measured in the same run")
    for heading in ("what", "measured", "goal", "baseline", "measured", "ratio"):
        table.add_column(heading, justify="left" if heading in {"what", "baseline"} else "right")
    for row in rows:
        goal = "" if row.goal is None else _figure(row.goal, row.unit)
        table.add_row(
            row.name,
            _figure(row.value, row.unit),
            goal,
            row.baseline_name,
            _figure(row.baseline_value, row.unit),
            f"{row.ratio:.2f}",
        )
    Console(width=max(Console().width, WIDTH)).print(table)


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:,.2f} {unit}"
