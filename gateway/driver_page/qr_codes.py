"""The QR code of an EVSE's driver page: PNG, SVG, and a PDF sheet to print in four languages.

Owns: the address in the code, and how it is drawn. Must not know: EVSEs, prices, parties.
Source: ISO/IEC 18004 (QR code): error correction Q restores a quarter of it, for a sticker in the weather,
and four modules of margin.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from io import BytesIO
from typing import Any, Final
from urllib.parse import quote, urlsplit

import segno

from clearing.language import Language
from gateway.driver_page.languages import texts_of
from gateway.pdf_renderer import render_sheet

PNG: Final = "image/png"
SVG: Final = "image/svg+xml"
PDF: Final = "application/pdf"
PATH: Final = "/c"
_CORRECTION: Final = "q"
_MARGIN: Final = 4
_PIXELS: Final = 16  # of a module in a PNG: about 650 pixels across


@dataclass(frozen=True, slots=True, kw_only=True)
class QrSheet:
    """What a sheet to print says: the code of `evse_id`'s page below `base_url`, and whose charger it is."""

    base_url: str
    evse_id: str
    operator: str = ""


def page_address(base_url: str, evse_id: str) -> str:
    """The address of an EVSE's driver page."""
    return f"{base_url}{PATH}/{quote(evse_id, safe='*')}"


def draw_png(address: str) -> bytes:
    """The code as a PNG, black on white."""
    return _saved(address, kind="png", scale=_PIXELS)


def draw_svg(address: str) -> bytes:
    """The code as an SVG without a size of its own, black on white."""
    return _saved(address, kind="svg", omitsize=True, light="#fff")


def draw_terminal(address: str) -> str:
    """The code in characters, two modules a line, for a terminal on a dark ground."""
    code = segno.make(address, error="l", micro=False)
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    shown = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    return "\n".join(
        "".join(shown[upper, lower] for upper, lower in zip(rows[at], rows[at + 1], strict=True))
        for at in range(0, len(rows), 2)
    )


async def draw_pdf(sheet: QrSheet, *, at: datetime) -> bytes:
    """A sheet of A4 with the code and what to do with it in four languages, in a thread.

    Raises TypesettingError.
    """
    return await asyncio.to_thread(draw_pdf_now, sheet, at=at)


def draw_pdf_now(sheet: QrSheet, *, at: datetime) -> bytes:
    """As `draw_pdf`, in the caller's thread."""
    address = page_address(sheet.base_url, sheet.evse_id)
    host = urlsplit(sheet.base_url).netloc
    texts = [(language.value, texts_of(language)) for language in Language]
    page = {
        "address": address.removeprefix("https://"),
        "code": _saved(address, kind="svg", omitsize=True, light="#fff").decode(),
        "evse_id": sheet.evse_id,
        "operator": sheet.operator,
        "lines": [
            {"language": language, "scan": one["sheet_scan"], "no_app": one["sheet_no_app"]}
            for language, one in texts
        ],
        "checks": [
            {"language": language, "text": one["sheet_check"].format(host=host)} for language, one in texts
        ],
    }
    layout = (files(__package__) / "templates" / "qr_sheet.typ").read_bytes()
    return render_sheet(layout, {"page": json.dumps(page, ensure_ascii=False)}, name=sheet.evse_id, at=at)


def _saved(address: str, **options: Any) -> bytes:
    out = BytesIO()
    segno.make(address, error=_CORRECTION, micro=False).save(out, border=_MARGIN, **options)
    return out.getvalue()
