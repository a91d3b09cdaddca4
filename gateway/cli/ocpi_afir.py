"""`networkcore ocpi export-afir`: charge points, status and ad hoc prices for a national access point.

Owns the options, the files and what is printed. Must not know the shape of DATEX II.
"""

from pathlib import Path
from typing import Final

import click

from gateway.cli.clock import business_now
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.ocpi.datex2.export import read_locations
from gateway.ocpi.datex2.publication import Omissions, Publications, Publisher, publish

TABLE_FILE: Final = "energy-infrastructure-table.json"
STATUS_FILE: Final = "energy-infrastructure-status.json"
_NAMED: Final = 3  # examples of what was left out; the rest is counted
_COUNTRY_LETTERS: Final = 2
_MAX_IDENTIFIER: Final = 255


@click.command(name="export-afir")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--country", required=True, help="Of the access point, such as NL: only EVSEs there.")
@click.option("--publisher", required=True, help="Your identifier at the access point.")
@click.option("--publisher-country", help="Country that issued the identifier; --country if not given.")
@click.option("--cpo", help="Only EVSEs of this operator.")
@click.option(
    "--language",
    type=click.Choice(["en", "de", "fr", "it"]),
    default="en",
    show_default=True,
    help="Of the words beside the prices; names and addresses are marked with it too.",
)
@click.option("--test", is_flag=True, help="Mark the data as a test.")
def command(
    *,
    directory: Path,
    country: str,
    publisher: str,
    publisher_country: str | None,
    cpo: str | None,
    language: str,
    test: bool,
) -> None:
    """Write public EVSEs as DATEX II for a national access point (AFIR article 20).

    DIRECTORY gets two JSON files: the table of sites with their ad hoc prices, and a snapshot of the status.
    What is left out is printed.
    """
    if not 0 < len(publisher) <= _MAX_IDENTIFIER or not publisher.isprintable():
        raise click.UsageError(
            f"--publisher: expected 1 to {_MAX_IDENTIFIER} printable characters, got {publisher[:40]!r}"
        )
    nation = _country(country, "--country")
    made_for = Publisher(
        country=_country(publisher_country or country, "--publisher-country"),
        identifier=publisher,
        language=language,
        test=test,
    )

    async def work(connection: Connection) -> Publications | None:
        now = await business_now(connection)
        found = await read_locations(connection, country=nation, party_id=cpo, at=now)
        return publish(found, publisher=made_for, at=now)

    made = in_transaction(work, command="ocpi export-afir", isolation="repeatable_read")
    if made is None:
        whose = "" if cpo is None else f" of {cpo}"
        raise click.ClickException(f"no public EVSE{whose} in {nation} can be exported; nothing was written")
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in ((TABLE_FILE, made.table), (STATUS_FILE, made.status)):
        part = directory / f"{name}.part"
        part.write_bytes(content)
        part.replace(directory / name)  # a reader never sees half a file
    click.echo(f"wrote {made.sites} sites with {made.points} refill points to {directory}")
    _show(made.omissions)


def _country(text: str, option: str) -> str:
    if len(text) != _COUNTRY_LETTERS or not text.isascii() or not text.isalpha():
        raise click.UsageError(f"{option}: expected an ISO 3166-1 alpha-2 code such as NL, got {text!r}")
    return text.upper()


def _show(omissions: Omissions) -> None:
    for names, text in (
        (omissions.without_place, "EVSEs left out, without coordinates"),
        (omissions.without_current, "EVSEs left out, neither AC nor DC"),
        (omissions.connectors_without_power, "connectors left out, power not known"),
        (omissions.without_price, "EVSEs without a price, no tariff in force"),
        (omissions.prices_in_words, "EVSEs with a price component in words only"),
    ):
        if names:
            more = "" if len(names) <= _NAMED else ", ..."
            click.echo(f"{len(names)} {text}: {', '.join(names[:_NAMED])}{more}")
