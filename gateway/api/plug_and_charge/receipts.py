"""The receipt that a driver opens at the station: a page without a key, behind a link that nobody guesses.

Owns: the path and the page. Must not know how a price comes about. The page names no driver and no party.
"""

from html import escape
from typing import Final

from clearing.money import to_major
from clearing.pricing.explain import receipt
from gateway.api import pages, problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse
from gateway.api.plug_and_charge.settlement_notice import stations_of
from gateway.payments.views import PriceView

_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": pages.HEADERS["Content-Security-Policy"],
    "Cache-Control": "private, no-store",
    "X-Robots-Tag": "noindex",
}


async def get(call: ApiRequest) -> ApiResponse:
    """The receipt of a session, as a page."""
    view = await stations_of(call).receipts.read(
        session_id=call.path_id("id", "ses"), token=call.path["token"]
    )
    buyer_path = f"/v1/receipts/{call.path['id']}/{call.path['token']}/buyer"
    return ApiResponse(body=receipt_page(view, buyer_path=buyer_path).encode(), headers=dict(_HEADERS))


def receipt_page(view: PriceView, *, buyer_path: str) -> str:
    """What was charged, where and when, and what it cost line by line; every text is escaped."""
    session, priced = view.session, view.priced
    facts = {
        "Charging point": session.evse_id,
        "Started": "" if session.started_at is None else f"{session.started_at:%Y-%m-%d %H:%M} UTC",
        "Ended": "" if session.ended_at is None else f"{session.ended_at:%Y-%m-%d %H:%M} UTC",
        "Energy": f"{priced.energy_kwh.normalize():f} kWh",
        "Total": f"{to_major(priced.incl_vat_minor, priced.currency)} {priced.currency}",
    }
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items() if value
    )
    lines = "".join(f"<li>{escape(line)}</li>" for line in receipt(priced))
    return pages.html_page(
        "Charging receipt",
        [
            "<h1>Charging receipt</h1>",
            f"<table>{rows}</table>",
            f"<ul>{lines}</ul>",
            "<p class='dim'>This is no invoice. Your contract's provider sends you the invoice.</p>",
            f"<p><a href='{escape(buyer_path)}'>Invoice to a company</a></p>",
        ],
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/receipts/{id}/{token:[A-Za-z0-9_-]{16,64}}",
        operation="getDriverReceipt",
        summary="Get a session's receipt without a key",
        description="OCPP's receiptUrl: a page for the driver. It names no driver and no party.",
        tag="Plug & Charge",
        public=True,
        handler=get,
        answers={200: None},
        also_gives=("text/html",),
        problems=(problems.NOT_FOUND,),
    ),
)
