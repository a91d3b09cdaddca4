"""`networkcore qr`: the QR code of an EVSE's driver page, to show, to place or to print.

Owns the arguments and where the file goes. Must not know how a code is drawn.
"""

import os
from pathlib import Path

import click

from gateway.cli.clock import offline_now

_FORMATS = ("png", "svg", "pdf")


@click.command(name="qr")
@click.argument("evse_ids", nargs=-1, required=True, metavar="EVSE_ID...")
@click.option("--url", metavar="URL", help="Where drivers reach us; NETWORKCORE_PUBLIC_URL if not given.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for a file per EVSE; without it the code is shown in the terminal.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(_FORMATS),
    default="pdf",
    show_default=True,
    help="png or svg: the code alone; pdf: a sheet to print, in four languages.",
)
@click.option("--operator", default="", help="Name of the operator on a sheet.")
def command(
    *, evse_ids: tuple[str, ...], url: str | None, out: Path | None, kind: str, operator: str
) -> None:
    """Draw the QR code of the page on which drivers without an account pay at EVSE_ID."""
    from gateway.driver_page.qr_codes import (  # noqa: PLC0415 - loaded by this command only
        QrSheet,
        draw_pdf_now,
        draw_png,
        draw_svg,
        draw_terminal,
        page_address,
    )

    base_url = _base_url(url)
    for evse_id in evse_ids:
        _check(evse_id)
        address = page_address(base_url, evse_id)
        if out is None:
            click.echo(f"{draw_terminal(address)}\n{address}")
            continue
        match kind:
            case "png":
                content = draw_png(address)
            case "svg":
                content = draw_svg(address)
            case _:
                sheet = QrSheet(base_url=base_url, evse_id=evse_id, operator=operator)
                content = draw_pdf_now(sheet, at=offline_now())
        out.mkdir(parents=True, exist_ok=True)
        file = out / f"{evse_id.replace('*', '-')}.{kind}"
        file.write_bytes(content)
        click.echo(f"{file}  {address}")


def _base_url(given: str | None) -> str:
    from gateway.config import load_some_settings  # noqa: PLC0415 - loaded by this command only

    if given is None:
        given = load_some_settings(os.environ, "public_url")["public_url"]
    if given is None:
        raise click.UsageError("--url is missing: where do drivers reach the gateway?")
    if not given.startswith(("https://", "http://")):
        raise click.UsageError(f"--url: expected an address such as https://charge.example, got {given!r}")
    return given.rstrip("/")


def _check(evse_id: str) -> None:
    printable = evse_id.isascii() and evse_id.isprintable()
    if not printable or "/" in evse_id or " " in evse_id or not any(map(str.isalnum, evse_id)):
        raise click.UsageError(f"EVSE_ID: expected one such as DE*ABC*E1, got {evse_id!r}")
