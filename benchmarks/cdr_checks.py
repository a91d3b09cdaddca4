"""The checks of a CDR, against reading and pricing the same CDR in the same run: a tenth at most.

The CDR and its tariff are those of the pricing benchmark, so that nothing is odd and every rule runs.
"""

from datetime import timedelta
from decimal import Decimal

import msgspec

from benchmarks.pricing import COMPLEX, START, VERSION, ZONE, complex_cdr
from benchmarks.table import Row, rate
from clearing.cdr_checks.checks import check_cdr, check_total
from clearing.cdr_checks.facts import SessionFacts
from clearing.cdr_checks.limits import limits_at
from clearing.errors import ClearingInvariantViolation
from clearing.pricing.cdr import Cost, parse_cdr
from clearing.pricing.embedded import compile_raw
from clearing.pricing.engine import price

PERIODS = 8
MOST_SHARE = Decimal("0.1")  # of the time of reading and pricing


def run(*, quick: bool) -> list[Row]:
    """Checks a second beside readings with prices a second."""
    program = compile_raw(msgspec.json.encode(COMPLEX), VERSION)
    raw = complex_cdr(PERIODS)
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
    limits = limits_at((), START)

    def check() -> None:
        if check_cdr(cdr, facts, limits) or check_total(cdr, priced, limits).finding is not None:
            raise ClearingInvariantViolation("a benchmark measured an odd CDR")

    pricing = rate(lambda: price(program, parse_cdr(raw, version=VERSION), time_zone=ZONE), quick=quick)
    checking = rate(check, quick=quick)
    return [
        Row(
            name=f"check a CDR of {PERIODS} periods",
            value=checking,
            unit="/s",
            baseline_name="read and price it",
            baseline_value=pricing,
            ratio=checking / pricing,
            goal=pricing / float(MOST_SHARE),
        )
    ]
