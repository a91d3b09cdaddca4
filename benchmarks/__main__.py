"""`python -m benchmarks [--quick] [NAME...]`: runs the benchmarks and prints one table."""

import argparse
import logging
from importlib import import_module

import structlog

from benchmarks.table import Row, render

# Every benchmark module, in the order of the table. Each has `run(*, quick: bool) -> list[Row]`.
NAMES = ("pricing", "clearing", "webhooks", "pnc", "capture", "settlement")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all if none is given"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: seconds, rough figures")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    # What a lane says of each payment is not the table that was asked for.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    rows: list[Row] = []
    for name in asked.names or NAMES:
        rows += import_module(f"benchmarks.{name}").run(quick=asked.quick)
    render(rows)


if __name__ == "__main__":
    main()
