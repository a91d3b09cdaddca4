"""Financial advice confirmations: one for each capture, sent to the CPO that invoices it.

Owns: what an advice says. Must not know: how a capture is made, or when captures are queried.
Source: OCPI 2.3.0 mod_payments, FinancialAdviceConfirmation (CaptureStatusCode: SUCCESS, PARTIAL_SUCCESS,
FAILED); Price of 2.3.0: before_taxes and taxes.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from clearing.money import Rounding, round_units, to_major
from gateway.database import transaction
from gateway.ids import format_id
from gateway.ocpi.envelope import timestamp
from gateway.ocpi.repository import payments
from gateway.ocpi.repository.payments import FinishedCapture
from gateway.ocpi.services import OcpiServices
from gateway.ocpi.terminals import MODULE

_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_UUID_MILLIS_SHIFT: Final = 80


async def queue_advices(
    services: OcpiServices, *, shard: int, floor: UUID, parties: Sequence[str], limit: int
) -> int:
    """Queue an advice for each capture of a shard that has none, in one transaction. Returns how many.

    `floor` is the lowest capture id queried, `parties` the CPOs whose platforms accept advices.
    """
    clock = services.clock
    async with transaction(services.pool) as connection:
        captures = await payments.list_captures_without_advice(
            connection, shard=shard, floor=floor, parties=parties, limit=limit
        )
        for capture in captures:
            advice_id = format_id("fac", capture.id)
            body = _encoder.encode(advice(capture, advice_id=advice_id, now=clock.now()))
            added = await payments.add_advice(
                connection,
                capture_id=capture.id,
                advice_id=advice_id,
                cpo_id=capture.cpo_id,
                body=body,
                now=clock.now(),
            )
            if added:
                await payments.add_message(
                    connection,
                    party_id=capture.cpo_id,
                    module=MODULE,
                    method="POST",
                    path="/financial-advice-confirmations",
                    object_id=advice_id,
                    body=body,
                    now=clock.now(),
                    wall_now=clock.wall_now(),
                )
    return len(captures)


def advice(capture: FinishedCapture, *, advice_id: str, now: datetime) -> dict[str, Any]:
    """The FinancialAdviceConfirmation of a capture, amounts in the currency's major unit.

    Of a partial capture the tax is the session's, in proportion. A failed one is of zero.
    """
    succeeded = capture.state == "succeeded"
    gross = capture.amount_minor if succeeded else 0
    net = _net_minor(gross, capture)
    amount = to_major(gross, capture.currency)
    if not succeeded:
        status, message = "FAILED", "The capture failed at the payment service provider"
    elif capture.receivable_minor:
        status, message = (
            "PARTIAL_SUCCESS",
            "Part of the price could not be collected from the payment method",
        )
    else:
        status, message = "SUCCESS", "Captured"
    return {
        "id": advice_id,
        "authorization_reference": capture.authorization_reference
        or format_id("auth", capture.authorization_id),
        "total_costs": {
            "before_taxes": to_major(net, capture.currency),
            "taxes": [{"name": "VAT", "amount": to_major(gross - net, capture.currency)}],
        },
        "currency": capture.currency,
        "eft_data": [f"Amount: {capture.currency} {amount}", f"Reference: {format_id('cap', capture.id)}"],
        "capture_status_code": status,
        "capture_status_message": message,
        "last_updated": timestamp(capture.captured_at or now),
    }


def _net_minor(gross: int, capture: FinishedCapture) -> int:
    """The net part of what was captured: the session's own, or its share of a smaller capture."""
    if not capture.price_minor or capture.price_net_minor is None:
        return gross
    share = Decimal(capture.price_net_minor) * gross / capture.price_minor
    return round_units(share, rounding=Rounding.HALF_AWAY)


def first_id_at(at: datetime) -> UUID:
    """The lowest UUIDv7 of an instant; every id made from then on is above it (RFC 9562 section 5.7)."""
    millis = int(at.timestamp() * 1000)
    return UUID(int=millis << _UUID_MILLIS_SHIFT)
