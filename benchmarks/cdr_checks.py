"""The checks of a CDR, against reading and pricing the same CDR in the same run: a tenth at most.

The CDRs and their tariffs are those of the pricing benchmark; nothing is odd. The checks are those between
the reading and the capture: the limits in force, the checks, the CPO's total. The same by every rule, without
the quick look, is what a CDR costs at which something is odd. Processor time, in turns.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec

from benchmarks.pricing import COMPLEX, SIMPLE, START, VERSION, ZONE, complex_cdr
from benchmarks.table import Row, cpu_times_us, share
from clearing.cdr_checks.checks import apply_rules, check_cdr, check_total
from clearing.cdr_checks.facts import SessionFacts
from clearing.cdr_checks.limits import limits_at
from clearing.errors import ClearingInvariantViolation
from clearing.pricing.cdr import Cost, parse_cdr
from clearing.pricing.embedded import compile_raw
from clearing.pricing.engine import price

CASES = (("complex", COMPLEX, 8), ("flat + energy", SIMPLE, 2))
MOST_SHARE = 0.1  # of the time of reading and pricing
BASELINE = "read and price it"


def run(*, quick: bool) -> list[Row]:
    """Microseconds of the checks beside those of reading and pricing."""
    return [row for name, tariff, periods in CASES for row in _rows(name, tariff, periods, quick=quick)]


def _rows(name: str, tariff: dict[str, Any], periods: int, *, quick: bool) -> Iterator[Row]:
    program = compile_raw(msgspec.json.encode(tariff), VERSION)
    raw = complex_cdr(periods)
    cdr = parse_cdr(raw, version=VERSION)
    priced = price(program, cdr, time_zone=ZONE)
    cdr = msgspec.structs.replace(cdr, total_cost=Cost(excl_vat=priced.excl_vat))
    facts = SessionFacts(
        now=cdr.end,
        authorized_at=START - timedelta(minutes=1),
        cpo_id="NL-ABC",
        currency=cdr.currency,
        evse_id="NL*ABC*E1",
        location_id="LOC1",
        max_power_w=22_080,
        power_type="AC_3_PHASE",
    )

    def check() -> None:
        limits = limits_at((), START)
        if check_cdr(cdr, facts, limits) or check_total(cdr, priced, limits).finding is not None:
            raise ClearingInvariantViolation("a benchmark measured an odd CDR")

    def by_rules() -> None:
        limits = limits_at((), START)
        if apply_rules(cdr, facts, limits) or check_total(cdr, priced, limits).finding is not None:
            raise ClearingInvariantViolation("a benchmark measured an odd CDR")

    pricing, checking, ruling = cpu_times_us(
        lambda: price(program, parse_cdr(raw, version=VERSION), time_zone=ZONE), check, by_rules, quick=quick
    )
    of = f"a CDR of {periods} periods, {name} tariff"
    yield share(f"check {of}", checking, BASELINE, pricing, MOST_SHARE)
    yield share("  the same by every rule", ruling, BASELINE, pricing, MOST_SHARE)
