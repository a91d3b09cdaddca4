"""`networkcore meter register`, `import`, `keys`, `accept`, `reject`, `end`, `policy`: keys of CPOs' meters.

Owns: the options, the CSV file, what is printed. Must not know how a signature is verified, or which keys
need a second person.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
from typing_extensions import override

from clearing.errors import InvalidMeterKeyError
from clearing.meter_data import service
from clearing.meter_data.findings import MeterPolicy
from clearing.meter_data.registered_key import (
    MeterIdentity,
    MeterKeySource,
    MeterKeyState,
    NewMeterKey,
    RegisteredKey,
)
from clearing.meter_data.service import KEY_PREFIX
from clearing.services import build_clearing
from gateway.cli.clock import business_now
from gateway.cli.documents import read_document
from gateway.cli.public_id import PublicId
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.ids import format_id, new_id

_COLUMNS: Final = frozenset(
    {
        "meter_serial",
        "gateway_serial",
        "charge_point_id",
        "public_key",
        "curve",
        "source",
        "valid_from",
        "valid_to",
    }
)
_NEEDED: Final = frozenset({"public_key"})
_MAX_LINES: Final = 100_000
_SHOWN: Final = 1_000
_LONGEST_PATH: Final = 1_024
_YEARS: Final = range(2000, 2200)
_SOURCES: Final = [source.value for source in MeterKeySource]

_party_option = click.option("--party", required=True, metavar="PARTY", help="The CPO, such as NL-ABC.")
_by_option = click.option("--by", required=True, metavar="NAME", help="Who does it; recorded.")
_key_argument = click.argument("key_id", metavar="ID", type=PublicId(KEY_PREFIX))


def key_text(text: str) -> str:
    """A key as written on the command line, or in the file that is named there."""
    if len(text) <= _LONGEST_PATH and "\0" not in text and Path(text).is_file():
        return read_document(text).decode("latin-1")
    return text


class MomentParameter(click.ParamType[datetime]):
    """A day or a time of ISO 8601; without an offset it is in UTC."""

    name = "time"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time, aware."""
        try:
            return _moment(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-01 or 2026-11-01T10:00:00Z", param, ctx)


@click.command(name="register")
@_party_option
@click.option("--meter-serial", help="MS of the meter's records.")
@click.option("--gateway-serial", help="GS of the meter's records.")
@click.option("--charge-point-id", help="CI of the meter's records.")
@click.option("--key", "public_key", required=True, help="Public key: hex, base64 or PEM, or a file of it.")
@click.option("--curve", help="Needed for a bare point, such as secp256r1.")
@click.option("--source", type=click.Choice(_SOURCES), default="cpo", show_default=True)
@click.option("--from", "valid_from", type=MomentParameter(), help="First instant; now unless it is given.")
@click.option("--until", "valid_to", type=MomentParameter(), help="End, exclusive; open unless it is given.")
@_by_option
def register_command(
    *,
    party: str,
    meter_serial: str | None,
    gateway_serial: str | None,
    charge_point_id: str | None,
    public_key: str,
    curve: str | None,
    source: str,
    valid_from: datetime | None,
    valid_to: datetime | None,
    by: str,
) -> None:
    """Register a key of a CPO's meter, by serial numbers or charge point.

    Another key for a known meter is proposed until a second person accepts it.
    """

    async def work(connection: Connection) -> RegisteredKey:
        now = await business_now(connection)
        await _check_party(connection, party)
        new = NewMeterKey(
            identity=MeterIdentity(
                meter_serial=meter_serial, gateway_serial=gateway_serial, charge_point_id=charge_point_id
            ),
            public_key=key_text(public_key),
            curve=curve,
            source=MeterKeySource(source),
            valid_from=valid_from or now,
            valid_to=valid_to,
        )
        return await service.register_key(connection, party, new, key_id=new_id(), by=by, now=now)

    click.echo(_line(_run(work, "meter register")))


@click.command(name="import")
@click.argument("file")
@_party_option
@_by_option
def import_command(*, file: str, party: str, by: str) -> None:
    """Import keys from a CSV FILE with a heading; all of them or none.

    Columns: public_key, and of meter_serial, gateway_serial and charge_point_id at least one; optional are
    curve, source, valid_from, valid_to. - is standard input.
    """
    lines = list(_lines(file, read_document(file)))

    async def work(connection: Connection) -> list[RegisteredKey]:
        now = await business_now(connection)
        await _check_party(connection, party)
        keys = []
        for number, line in lines:
            try:
                new = _new_key(line, now)
                keys.append(
                    await service.register_key(connection, party, new, key_id=new_id(), by=by, now=now)
                )
            except InvalidMeterKeyError as error:
                raise click.ClickException(f"{file}: line {number}: {error}") from None
        return keys

    keys = _run(work, "meter import")
    proposed = sum(key.state is MeterKeyState.PROPOSED for key in keys)
    click.echo(f"{len(keys)} keys, {proposed} of them proposed: a second person decides on those")


@click.command(name="keys")
@click.option("--party", help="Only those of this CPO.")
@click.option("--state", type=click.Choice([state.value for state in MeterKeyState]))
@as_json_option
def keys_command(*, party: str | None, state: str | None, as_json: bool) -> None:
    """List keys of meters, the latest first."""

    async def work(connection: Connection) -> Sequence[RegisteredKey]:
        wanted = None if state is None else MeterKeyState(state)
        return await service.list_keys(connection, party_id=party, state=wanted, limit=_SHOWN)

    rows = [_row(key) for key in _run(work, "meter keys")]
    show_rows(rows, title="Meter keys", none="No meter key is registered.", as_json=as_json)


@click.command(name="accept")
@_key_argument
@_by_option
def accept_command(*, key_id: UUID, by: str) -> None:
    """Accept a changed key of a known meter; the key before it ends."""

    async def work(connection: Connection) -> RegisteredKey:
        return await service.accept_key(connection, key_id, by=by, now=await business_now(connection))

    click.echo(_line(_run(work, "meter accept")))


@click.command(name="reject")
@_key_argument
@_by_option
def reject_command(*, key_id: UUID, by: str) -> None:
    """Reject a changed key of a known meter."""

    async def work(connection: Connection) -> RegisteredKey:
        return await service.reject_key(connection, key_id, by=by, now=await business_now(connection))

    click.echo(_line(_run(work, "meter reject")))


@click.command(name="end")
@_key_argument
@click.option("--at", type=MomentParameter(), help="Exclusive; now unless it is given.")
def end_command(*, key_id: UUID, at: datetime | None) -> None:
    """End a key, as when its meter was replaced."""

    async def work(connection: Connection) -> RegisteredKey:
        return await service.end_key(connection, key_id, valid_to=at or await business_now(connection))

    click.echo(_line(_run(work, "meter end")))


@click.command(name="policy")
@click.argument("party")
@click.argument("policy", type=click.Choice([policy.value for policy in MeterPolicy]))
@click.option("--from", "valid_from", type=MomentParameter(), help="First instant; now unless it is given.")
@_by_option
def policy_command(*, party: str, policy: str, valid_from: datetime | None, by: str) -> None:
    """Set what a CPO's CDRs must carry: signed meter data are required, checked or ignored."""

    async def work(connection: Connection) -> datetime:
        now = await business_now(connection)
        await _check_party(connection, party)
        begin = valid_from or now
        await service.set_policy(connection, party, MeterPolicy(policy), valid_from=begin, by=by, now=now)
        return begin

    begin = _run(work, "meter policy")
    click.echo(f"{party}: signed meter data are {policy} for CDRs that end from {begin.isoformat()} on")


COMMANDS: Final = (
    register_command,
    import_command,
    keys_command,
    accept_command,
    reject_command,
    end_command,
    policy_command,
)


def _run(work: Callable[[Connection], Any], command: str) -> Any:
    return in_transaction(work, command=command)


async def _check_party(connection: Connection, party: str) -> None:
    if await build_clearing().reference_data.find_party(connection, party) is None:
        raise click.UsageError(f"there is no party {party}; create it first")


def _lines(name: str, raw: bytes) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The lines of a CSV file with their numbers, empty fields left out."""
    try:
        reader = csv.DictReader(io.StringIO(raw.decode(), newline=""), strict=True)
        columns = frozenset(reader.fieldnames or ())
        unknown, missing = columns - _COLUMNS, _NEEDED - columns
        if unknown or missing:
            problem = f"no column {min(missing)!r}" if missing else f"an unknown column {min(unknown)!r}"
            raise click.ClickException(f"{name}: has {problem}; there are {', '.join(sorted(_COLUMNS))}")
        for count, line in enumerate(reader):
            if count >= _MAX_LINES or None in line or None in line.values():
                raise click.ClickException(
                    f"{name}: line {reader.line_num}: expected {len(columns)} fields, in {_MAX_LINES} lines"
                )
            yield reader.line_num, {key: value.strip() for key, value in line.items() if value.strip()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(f"{name}: is no CSV file in UTF-8: {error}") from None


def _new_key(line: Mapping[str, str], now: datetime) -> NewMeterKey:
    source = line.get("source", MeterKeySource.CPO.value)
    if source not in _SOURCES:
        raise InvalidMeterKeyError("source", f"expected one of {', '.join(_SOURCES)}")
    return NewMeterKey(
        identity=MeterIdentity(
            meter_serial=line.get("meter_serial"),
            gateway_serial=line.get("gateway_serial"),
            charge_point_id=line.get("charge_point_id"),
        ),
        public_key=line.get("public_key", ""),
        curve=line.get("curve"),
        source=MeterKeySource(source),
        valid_from=_moment_of(line, "valid_from") or now,
        valid_to=_moment_of(line, "valid_to"),
    )


def _moment_of(line: Mapping[str, str], name: str) -> datetime | None:
    if name not in line:
        return None
    try:
        return _moment(line[name])
    except ValueError:
        raise InvalidMeterKeyError(name, f"{line[name]!r} is not a time such as 2026-11-01") from None


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.year not in _YEARS:
        raise ValueError("expected a year from 2000 to 2199")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _line(key: RegisteredKey) -> str:
    names = " ".join(part for part in key.identity.parts if part)
    return f"{format_id(KEY_PREFIX, key.id)}  {key.state}  {key.party_id} {names} {key.curve}"


def _row(key: RegisteredKey) -> Mapping[str, Any]:
    return {
        "id": format_id(KEY_PREFIX, key.id),
        "party": key.party_id,
        "meter_serial": key.identity.meter_serial,
        "gateway_serial": key.identity.gateway_serial,
        "charge_point_id": key.identity.charge_point_id,
        "curve": key.curve,
        "source": key.source.value,
        "state": key.state.value,
        "valid_from": key.valid_from,
        "valid_to": key.valid_to,
        "entered_by": key.entered_by,
    }
