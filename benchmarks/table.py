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
