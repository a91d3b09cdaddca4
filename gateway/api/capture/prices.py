"""A priced session as partners see it.

Owns: which figure of the pricing is shown under which name. Must not know how a price comes about.
Decimals go out as text: what a reader shows is what was computed.
"""

from decimal import Decimal

from clearing.pricing.explain import receipt
from clearing.pricing.priced import Line
from gateway.ids import format_id
from gateway.payments.views import PriceView
from gateway.schemas import api_schemas


def price_object(view: PriceView) -> api_schemas.PriceSchema:
    """The public price with its lines and the same as text."""
    priced = view.priced
    return api_schemas.PriceSchema(
        session=format_id("ses", view.session.id),
        currency=priced.currency,
        excl_vat=priced.excl_vat_minor,
        incl_vat=priced.incl_vat_minor,
        lines=[line_object(line) for line in priced.lines],
        taxes=[
            api_schemas.PriceTaxSchema(
                name=tax.name, rate=_text(tax.percent), excl_vat=tax.net_minor, amount=tax.tax_minor
            )
            for tax in priced.taxes
        ],
        notes=[f"{note.code.value}: {note.text}" for note in priced.notes],
        policy=priced.policy,
        explained=list(receipt(priced)),
    )


def line_object(line: Line) -> api_schemas.PriceLineSchema:
    """One line of a price as partners see it."""
    return api_schemas.PriceLineSchema(
        dimension=line.dimension.value if line.dimension is not None else "LIMIT",
        period=line.period,
        element=line.element,
        component=line.component,
        volume=_text(line.volume),
        billed_volume=_text(line.billed_volume),
        unit=line.unit,
        unit_price=_text(line.price),
        excl_vat=str(line.excl_vat),
        incl_vat=str(line.incl_vat),
        vat_rate=_text(line.tax_percent),
        why=line.reason.value,
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
