"""Pages set as PDF/A-3b, with the invoice's XML attached: the only importer of the typesetter.

Owns: how the typesetter is called. Must not know: what a page says. The same page at the same instant gives
the same bytes. Only the fonts within the wheel are used, so that no machine sets it differently, and the
template reads no file and fetches no package.
"""

import asyncio
from datetime import datetime
from typing import Final

import typst

from clearing.documents.facturx import declare
from clearing.documents.printing import Page, template
from gateway.errors import GatewayError

_STANDARD: Final = "a-3b"


class TypesettingError(GatewayError):
    """The page could not be set."""


async def render(page: Page, *, cii: bytes | None, issued_at: datetime) -> bytes:
    """The page as PDF/A-3b; with `cii` a Factur-X file of profile EN 16931.

    Setting takes some milliseconds of a processor and runs beside the event loop. Raises TypesettingError.
    """
    return await asyncio.to_thread(render_now, page, cii=cii, issued_at=issued_at)


def render_now(page: Page, *, cii: bytes | None, issued_at: datetime) -> bytes:
    """As `render`, in the caller's thread."""
    inputs = {"page": page.data()}
    if cii is not None:
        inputs["xml"] = cii.decode()
    try:
        pdf = typst.compile(
            template(),
            format="pdf",
            ignore_system_fonts=True,
            sys_inputs=inputs,
            pdf_standards=_STANDARD,
            timestamp=int(issued_at.timestamp()),
        )
    except typst.TypstError as error:
        raise TypesettingError(f"{page.number} could not be set: {error}") from error
    if not isinstance(pdf, bytes):
        raise TypesettingError(f"{page.number} could not be set: the typesetter gave no file")
    return pdf if cii is None else declare(pdf)
