"""`networkcore ocpi tokens`: drivers' tokens from a file, and the list of them.

Owns the columns of the file and what is printed. Must not know how a token reaches a CPO.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg
import click
from pydantic import ValidationError

from gateway.api.partners.ocpi_tokens import OcpiTokenBody, token_update
from gateway.cli.clock import read_clock
from gateway.cli.command_group import CommandGroup
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.ocpi.repository import tokens
from gateway.ocpi.services import PLATFORM_ROLE
from gateway.ocpi.token_service import TokenTakenError, TokenType, TokenUpdate, save_token, set_valid
from gateway.ocpi.token_types import EMAID
from gateway.payments.errors import NotFoundError
from gateway.payments.payers import check_payer

REQUIRED: Final = ("uid", "type", "party", "contract_id", "issuer")
OPTIONAL: Final = (
    "payment_method",
    "customer",
    "valid",
    "whitelist",
    "visual_number",
    "group_id",
    "language",
)
_FLAGS: Final = {"true": True, "false": False, "1": True, "0": False}
_MAX_UID: Final = 36
_MAX_ROWS: Final = 10_000
_REST: Final = "more cells"


@click.group(name="tokens", cls=CommandGroup)
def command() -> None:
    """Import, list and block drivers' tokens (RFID cards, app users)."""


@command.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only check the file.")
def import_file(file: Path, *, dry_run: bool) -> None:
    """Store every token of FILE, a CSV with a heading, or none of them.

    Columns: uid, type (APP_USER, RFID or OTHER), party, contract_id, issuer; and optionally payment_method
    and customer (tokens of the PSP; without them the party's account pays), valid, whitelist, visual_number,
    group_id, language. A token that exists is changed.
    """
    updates = list(_read(file))
    if dry_run:
        click.echo(f"{len(updates)} tokens can be read")
        return

    async def work(connection: Connection) -> int:
        clock = await read_clock(connection)
        for line, update in updates:
            try:
                async with connection.transaction():
                    await _check_payment(connection, update)
                    await save_token(connection, update, role=PLATFORM_ROLE, clock=clock)
            except TokenTakenError as error:
                raise _Unfit(line, f"token {error} is another demand partner's") from None
            except NotFoundError:
                raise _Unfit(line, f"payment_method: {update.party_id} has no such payment method") from None
            except asyncpg.ForeignKeyViolationError:
                raise _Unfit(line, f"party: there is no party {update.party_id}") from None
        return len(updates)

    click.echo(f"stored {in_transaction(work, command='ocpi tokens')} tokens")


@command.command(name="list")
@click.option("--party", help="Only this demand partner's tokens.")
@as_json_option
def list_all(party: str | None, *, as_json: bool) -> None:
    """Show tokens by uid, eMAIDs of contracts too; what pays is not shown."""
    found = in_transaction(
        lambda connection: tokens.list_tokens_of(
            connection, party_id=party, types=[*TokenType, EMAID], after=None, limit=_MAX_ROWS
        ),
        command="ocpi tokens list",
        reading=True,
    )
    rows = [
        {
            "uid": token.uid,
            "type": token.type,
            "party": token.demand_partner_id,
            "contract": token.contract_id,
            "valid": token.valid,
            "whitelist": token.whitelist,
            "updated": token.last_updated,
        }
        for token in found
    ]
    show_rows(rows, title="Tokens", none="There are no tokens.", as_json=as_json)


@command.command(name="block")
@click.argument("token_type", metavar="TYPE", type=click.Choice(list(TokenType)))
@click.argument("uid")
def block(token_type: str, uid: str) -> None:
    """Block the token UID of TYPE, such as a card that was lost; CPOs are sent the change."""
    _set_valid(token_type, uid, valid=False)
    click.echo(f"{token_type} {uid} is blocked")


@command.command(name="unblock")
@click.argument("token_type", metavar="TYPE", type=click.Choice(list(TokenType)))
@click.argument("uid")
def unblock(token_type: str, uid: str) -> None:
    """Make the blocked token UID of TYPE valid again; CPOs are sent the change."""
    _set_valid(token_type, uid, valid=True)
    click.echo(f"{token_type} {uid} is valid")


def _set_valid(token_type: str, uid: str, *, valid: bool) -> None:
    async def work(connection: Connection) -> bool:
        clock = await read_clock(connection)
        found = await set_valid(
            connection, uid=uid, token_type=TokenType(token_type), valid=valid, clock=clock
        )
        return found is not None

    if not in_transaction(work, command="ocpi tokens"):
        raise click.ClickException(f"there is no {token_type} token {uid}; see networkcore ocpi tokens list")


class _Unfit(click.UsageError):
    """A line of the file that can't be stored; exit status 2."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}; nothing was stored")


async def _check_payment(connection: Connection, update: TokenUpdate) -> None:
    """Raises NotFoundError where the payment method or its customer is another party's."""
    payment = update.payment
    if payment.get("type") == "psp_payment_method":
        await check_payer(
            connection,
            party_id=update.party_id,
            psp_customer=payment.get("customer"),
            psp_method=payment["payment_method"],
        )


def _read(file: Path) -> Iterator[tuple[int, TokenUpdate]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, restkey=_REST, strict=True)
            _check_heading(reader.fieldnames or ())
            seen: set[tuple[str, str]] = set()
            for row in reader:
                update = _update(reader.line_num, row)
                if (key := (update.uid.lower(), update.type.value)) in seen:
                    raise _Unfit(reader.line_num, f"uid: {update.uid} occurs twice")
                seen.add(key)
                yield reader.line_num, update
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is not UTF-8 text") from None
    except csv.Error as error:
        raise click.UsageError(f"{file} is not CSV: {error}") from None


def _check_heading(names: object) -> None:
    given = set(names) if isinstance(names, list | tuple) else set()
    missing = [name for name in REQUIRED if name not in given]
    unknown = sorted(given - {*REQUIRED, *OPTIONAL})
    if missing or unknown:
        said = f"lacks {', '.join(missing)}" if missing else f"has the unknown column {unknown[0]}"
        raise click.UsageError(f"the heading {said}; expected {', '.join((*REQUIRED, *OPTIONAL))}")


def _update(line: int, row: dict[str, str | None]) -> TokenUpdate:
    given: dict[str, str] = {name: value for name, value in row.items() if value}
    if _REST in row:
        raise _Unfit(line, "more cells than the heading has")
    uid, kind = given.pop("uid", ""), given.pop("type", "")
    if not 0 < len(uid) <= _MAX_UID or not uid.isascii() or not uid.isprintable():
        raise _Unfit(line, f"uid: expected 1 to {_MAX_UID} printable ASCII characters")
    if kind not in set(TokenType):
        raise _Unfit(line, f"type: expected one of {', '.join(TokenType)}")
    method, customer = given.pop("payment_method", None), given.pop("customer", None)
    body: dict[str, object] = dict(given)
    body["payment"] = (
        {"type": "partner_account"}
        if method is None
        else {
            "type": "psp_payment_method",
            "payment_method": method,
            "customer": customer,
            "off_session": True,
        }
    )
    if "valid" in body:
        flag = _FLAGS.get(str(body["valid"]).lower())
        if flag is None:
            raise _Unfit(line, "valid: expected true or false")
        body["valid"] = flag
    try:
        fit = OcpiTokenBody.model_validate(body, strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _Unfit(line, f"{first['loc'][-1]}: {first['msg']}") from None
    return token_update(uid, TokenType(kind), fit)
