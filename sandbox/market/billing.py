"""The operator's own billing: the cost it writes on a CDR.

Owns: adding `total_cost` by the same pricing engine that an operator would run, and, on one session of the
day, a total above its own tariff. Must not know how the gateway treats it.
"""

from decimal import Decimal
from typing import Any, Final

from clearing.money import to_major
from clearing.pricing.cdr import parse_cdr
from clearing.pricing.engine import compile_tariff, price
from clearing.pricing.tariff import OcpiVersion, parse_tariff
from sandbox.market.client import encode_json
from sandbox.market.participants import CPO_BY_ID
from sandbox.market.plan import PlannedSession, SessionScenario
from sandbox.market.tariffs import tariff

OVERBILLED_BY: Final = Decimal("3.00")
_VERSION: Final = OcpiVersion("2.2.1")


def bill(session: PlannedSession, record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The CDR with its cost, and the public price {"currency", "incl_vat", "excl_vat"} in minor units."""
    cpo = CPO_BY_ID[session.site.cpo_id]
    public = tariff(cpo_id=cpo.party_id, tariff_id=session.site.tariff_id)
    program = compile_tariff(parse_tariff(encode_json(public), version=_VERSION))
    zero = {"excl_vat": Decimal(0), "incl_vat": Decimal(0)}
    unpriced = parse_cdr(encode_json(record | {"total_cost": zero}), version=_VERSION)
    priced = price(program, unpriced, time_zone=cpo.time_zone)
    net, gross = (to_major(minor, cpo.currency) for minor in (priced.excl_vat_minor, priced.incl_vat_minor))
    if session.scenario is SessionScenario.OVERBILLED:
        net, gross = net + OVERBILLED_BY, gross + OVERBILLED_BY
    cost = {"excl_vat": net, "incl_vat": gross}
    billed = {
        "currency": cpo.currency,
        "incl_vat": priced.incl_vat_minor,
        "excl_vat": priced.excl_vat_minor,
    }
    return record | {"total_cost": cost}, billed
