"""`python -m benchmarks [--quick] [NAME...]`: runs the benchmarks and prints one table."""

import argparse
import logging
from importlib import import_module

import structlog

from benchmarks.table import Row, render

# Every benchmark module, in the order of the table. Each has `run(*, quick: bool) -> list[Row]`.
NAMES = (
    "pricing",
    "cdr_checks",
    "meter_data",
    "clearing",
    "webhooks",
    "worker",
    "pnc",
    "capture",
    "session_cost",
    "settlement",
    "books",
    "daily_audit",
    "citus",
    "console",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all if none is given"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: seconds, rough figures")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    # The jobs' log lines would hide the table.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    rows: list[Row] = []
    for name in options.names or NAMES:
        rows += import_module(f"benchmarks.{name}").run(quick=options.quick)
    render(rows)


if __name__ == "__main__":
    main()
