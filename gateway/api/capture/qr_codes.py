"""The QR code of an EVSE's driver page, as a picture or a sheet to print.

Owns: the path. Must not know how a code is drawn.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.capture.evses import EvseQuery, find_evse
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse
from gateway.driver_page.qr_codes import PDF, PNG, SVG, QrSheet, draw_pdf, draw_png, draw_svg, page_address

_TYPES: Final = {"png": PNG, "svg": SVG, "pdf": PDF}


class QrCodeQuery(EvseQuery):
    """In which form the code is wanted."""

    format: Literal["png", "svg", "pdf"] = Field(
        "png", description="png or svg: the code alone; pdf: a sheet to print, in four languages"
    )


async def get(call: ApiRequest) -> ApiResponse:
    """The code of one EVSE."""
    query: QrCodeQuery = call.query
    found = await find_evse(call)
    name = found.evse.evse_id or found.evse.evse_uid
    base_url = call.services.options.base_url
    address = page_address(base_url, name)
    match query.format:
        case "png":
            content = draw_png(address)
        case "svg":
            content = draw_svg(address)
        case _:
            sheet = QrSheet(base_url=base_url, evse_id=name, operator=found.evse.operator_name or "")
            content = await draw_pdf(sheet, at=call.services.now())
    return ApiResponse(body=content, headers={"Content-Type": _TYPES[query.format]})


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/evses/{evse_id:[!-.0-~]{1,64}}/qr-code",
        operation="getEvseQrCode",
        summary="Get an EVSE's QR code",
        description="Leads to `/c/{evse_id}`, where a driver without an account pays. The page exists where "
        "`PUT /v1/parties/{id}/driver-page` has set one up for the EVSE's CPO or for all.",
        tag="EVSEs",
        handler=get,
        query=QrCodeQuery,
        answers={200: None},
        also_gives=(PNG, SVG, PDF),
        problems=(problems.EVSE_NOT_FOUND, problems.UNAVAILABLE),
    ),
)
