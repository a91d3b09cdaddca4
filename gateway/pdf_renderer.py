"""Pages set as PDF/A-3b, with files attached: the only importer of the typesetter.

Owns: how the typesetter is called. Must not know: the content of a page. The same page at the same instant
gives the same bytes. Only the fonts within the wheel are used, so that every machine gives the same page,
and the template fetches no package and reads only the files that are attached.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

import typst

from clearing.documents.facturx import declare
from clearing.documents.printed_page import PrintedPage, template
from clearing.settlement_statements.page import StatementPage, statement_template
from gateway.errors import GatewayError

_STANDARD: Final = "a-3b"


class TypesettingError(GatewayError):
    """The page could not be set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file of the page's directory that the PDF carries; `relationship` as in PDF 2.0, such as "data"."""

    name: str
    mime: str
    description: str
    relationship: str


async def render(page: PrintedPage, *, cii: bytes | None, issued_at: datetime) -> bytes:
    """The page as PDF/A-3b; with `cii` a Factur-X file of profile EN 16931.

    Typesetting takes some milliseconds of a processor and runs in a thread. Raises TypesettingError.
    """
    return await asyncio.to_thread(render_now, page, cii=cii, issued_at=issued_at)


def render_now(page: PrintedPage, *, cii: bytes | None, issued_at: datetime) -> bytes:
    """As `render`, in the caller's thread."""
    inputs = {"page": page.data()}
    if cii is not None:
        inputs["xml"] = cii.decode()
    pdf = _set(template(), inputs, name=page.number, issued_at=issued_at)
    return pdf if cii is None else declare(pdf)


async def render_statement(
    page: StatementPage, *, attachments: Sequence[Attachment], directory: Path, issued_at: datetime
) -> bytes:
    """A settlement statement as PDF/A-3b with files of `directory` attached; in a thread.

    Raises TypesettingError.
    """
    inputs = {
        "page": page.data(),
        "attachments": json.dumps(
            [
                {
                    "name": one.name,
                    "path": one.name,
                    "mime": one.mime,
                    "description": one.description,
                    "relationship": one.relationship,
                }
                for one in attachments
            ]
        ),
    }
    return await asyncio.to_thread(
        _set, statement_template(), inputs, name=page.number, issued_at=issued_at, root=directory
    )


def render_sheet(layout: bytes, inputs: dict[str, str], *, name: str, at: datetime) -> bytes:
    """A sheet to print as PDF/A-3b, in the caller's thread. Raises TypesettingError."""
    return _set(layout, inputs, name=name, issued_at=at)


def _set(
    layout: bytes, inputs: dict[str, str], *, name: str, issued_at: datetime, root: Path | None = None
) -> bytes:
    try:
        pdf = typst.compile(
            layout,
            format="pdf",
            ignore_system_fonts=True,
            sys_inputs=inputs,
            pdf_standards=_STANDARD,
            timestamp=int(issued_at.timestamp()),
            root=cast("Any", root),  # its stub wants the type of the layout
        )
    except typst.TypstError as error:
        raise TypesettingError(f"{name} could not be set: {error}") from error
    if not isinstance(pdf, bytes):
        raise TypesettingError(f"{name} could not be set: the typesetter gave no file")
    return pdf
