"""The CDRs module as receiver: POST and GET. A CDR is kept once and never changed.

Owns: what a CDR must hold to be kept, and what a repetition is. Must not know: prices or captures; a worker
runs the task that is written together with the CDR.
Source: OCPI mod_cdrs, Receiver Interface and Credit CDRs: the answer carries a Location; a CDR can't be
replaced; a credit CDR names the CDR it reverses.
"""

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import msgspec

from clearing.cdr_checks.limits import LimitName, limits_at
from clearing.pricing.cdr import UNIX_EPOCH
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse, timestamp
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.repository import cdrs as repository
from gateway.ocpi.repository.cdrs import NewCdr
from gateway.ocpi.request_bodies import (
    Body,
    Tree,
    check_identifier,
    encode,
    flag,
    identifier,
    moment,
    number,
    objects,
    optional_text,
    shown,
    text,
)
from gateway.ocpi.services import OcpiServices
from gateway.ocpi.sessions import authorization_reference
from gateway.ocpi.versions import module_url

_NAME: Final = "CDR"
_CASELESS: Final = ("country_code", "party_id", "id", "session_id", "credit_reference_id")
_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2100
_ID_LIMIT: Final = 39  # 36, and 3 for the suffix of a credit CDR


async def post_cdr(call: OcpiRequest) -> OcpiResponse:
    """POST a CDR.

    The same CDR again gets the same answer and has no second effect; another under its id is rejected.
    """
    body = call.body(_NAME)
    party = _owner(call, body.tree)
    cdr = read_cdr(body, raw=call.raw, party=party, version=call.version)
    services = call.services
    async with services.pool.acquire() as connection:  # one statement keeps all
        await keep_cdr(
            connection,
            cdr,
            now=services.clock.now(),
            wall_now=services.clock.wall_now(),
        )
    location = _location(services, version=call.version, party=party, cdr_id=cdr.cdr_id)
    return OcpiResponse(http_status=201, headers={"Location": location})


async def keep_cdr(connection: Connection, cdr: NewCdr, *, now: datetime, wall_now: datetime) -> bool:
    """Keep a CDR, pushed or pulled, with its task, in one statement; False when it was kept before.

    Raises Refusal when another CDR was received under its id.
    """
    _check_future(cdr, now=now)
    if await repository.add_cdr(connection, cdr, now=now, wall_now=wall_now):
        if cdr.credit:  # a CDR that came before it may take the place of the credited one now
            await repository.replay_waiting(connection, now=now, wall_now=wall_now, cpo_id=cdr.cpo_id)
        return True
    stored = await repository.load_cdr(connection, cdr.cpo_id, cdr.cdr_id)
    if stored is not None and stored.fingerprint != cdr.fingerprint:
        raise OcpiRejectionError(
            f"CDR {cdr.cdr_id} was received before with other content;"
            " a CDR can't be changed, send a credit CDR"
        )
    return False


def _check_future(cdr: NewCdr, *, now: datetime) -> None:
    """A CDR tells of a finished session: one far in the future comes of a broken clock."""
    most = int(limits_at((), now)[LimitName.REFUSED_FUTURE_S])
    if (cdr.ended_at - now).total_seconds() > most:
        raise OcpiRejectionError(
            f"CDR {cdr.cdr_id} ends {timestamp(cdr.ended_at)}, more than {most // 3600} h from now"
        )


async def get_cdr(call: OcpiRequest) -> OcpiResponse:
    """GET a CDR at the Location that its POST gave; byte for byte as it was sent."""
    party, cdr_id = call.party(), call.segment("object_id", limit=_ID_LIMIT)
    async with call.services.pool.acquire() as connection:
        stored = await repository.load_cdr(connection, party, cdr_id)
    if stored is None:
        raise OcpiRejectionError(
            f"CDR {cdr_id} is unknown here", code=StatusCode.INVALID_PARAMETERS, http_status=404
        )
    return OcpiResponse(data=msgspec.Raw(stored.raw))


def _location(services: OcpiServices, *, version: OcpiVersion, party: str, cdr_id: str) -> str:
    country, code = party.split("-", 1)
    return f"{module_url(services, version=version, module='cdrs')}/{country}/{code}/{quote(cdr_id, safe='')}"


def _owner(call: OcpiRequest, tree: Tree) -> str:
    """Whose CDR it is; 2.1.1 does not say, so there the connection must speak for one party."""
    if call.version is OcpiVersion.V2_1_1:
        if len(call.peer.parties) != 1:
            raise OcpiRejectionError(
                "a connection for several parties needs OCPI 2.2.1, whose CDRs name their owner"
            )
        return call.peer.parties[0]
    country, party = text(tree, "country_code", limit=2), text(tree, "party_id", limit=3)
    return call.own_party(country, party)


def read_cdr(body: Body, *, raw: bytes, party: str, version: OcpiVersion) -> NewCdr:
    """Check what a CDR must have whatever its price, and pick what it is found by. Raises Refusal."""
    tree = body.tree
    started_at, ended_at = moment(tree, "start_date_time"), moment(tree, _end_name(version))
    _check_span(started_at, ended_at, name=_end_name(version))
    credit = version is not OcpiVersion.V2_1_1 and flag(tree, "credit")  # 2.1.1 has no credit CDRs
    credit_reference = optional_text(tree, "credit_reference_id", limit=_ID_LIMIT) if credit else None
    if credit and credit_reference is None:
        raise OcpiRejectionError("$.credit_reference_id: missing; a credit CDR names the CDR it reverses")
    _check_content(tree, version=version)
    if credit:
        _check_credit(tree)
    session_ref = optional_text(tree, "session_id", limit=36)
    return NewCdr(
        cpo_id=party,
        cdr_id=check_identifier(identifier(tree, "id", limit=_ID_LIMIT), at="$.id", limit=_ID_LIMIT),
        version=version,
        raw=raw,
        fingerprint=_fingerprint(tree),
        session_ref=session_ref,
        authorization_reference=authorization_reference(tree),
        currency=text(tree, "currency", limit=3),
        ended_at=ended_at,
        credit=credit,
        credit_reference_id=credit_reference,
        last_updated=moment(tree, "last_updated"),
    )


def _fingerprint(tree: Tree) -> bytes:
    """SHA-256 of the content, in which ids count without case: they are CiStrings (OCPI types)."""
    ids = {name: tree[name].lower() for name in _CASELESS if isinstance(tree.get(name), str)}
    return hashlib.sha256(encode({**tree, **ids}, name=_NAME)).digest()


def _end_name(version: OcpiVersion) -> str:
    return "stop_date_time" if version is OcpiVersion.V2_1_1 else "end_date_time"


def _check_span(started_at: datetime, ended_at: datetime, *, name: str) -> None:
    for at, instant in (("start_date_time", started_at), (name, ended_at)):
        _check_year(instant, at=f"$.{at}")
    if ended_at < started_at:
        raise OcpiRejectionError(f"$.{name}: is before start_date_time")


def _check_year(instant: datetime, *, at: str) -> None:
    """A year of the wrong century is a broken clock; 1970-01-01 is what OCPI writes for an unknown time."""
    if instant != UNIX_EPOCH and not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        raise OcpiRejectionError(
            f"{at}: expected a year from {_FIRST_YEAR} to {_LAST_YEAR}, got {instant.year}"
        )


def _check_credit(tree: Tree) -> None:
    """Only the total of a credit CDR is negative (OCPI mod_cdrs, Credit CDRs)."""
    for name in ("excl_vat", "before_taxes"):
        total = tree["total_cost"].get(name)
        if isinstance(total, Decimal) and total > 0:
            raise OcpiRejectionError(
                f"$.total_cost.{name}: is {shown(total)}; the total of a credit CDR is negative"
            )


def _check_content(tree: Tree, *, version: OcpiVersion) -> None:
    """Figures, location and periods are there and of their type.

    Whether they make sense is the pricing's question.
    """
    number(tree, "total_energy")
    number(tree, "total_time")
    total: Any = tree.get("total_cost")
    if version is OcpiVersion.V2_1_1:
        number(tree, "total_cost")
    elif not isinstance(total, dict):
        raise OcpiRejectionError(f"$.total_cost: expected a Price object, got {shown(total)}")
    location = tree.get("location" if version is OcpiVersion.V2_1_1 else "cdr_location")
    if not isinstance(location, dict):
        raise OcpiRejectionError(f"$.cdr_location: expected an object, got {shown(location)}")
    for position, period in enumerate(objects(tree, "charging_periods", required=True)):
        at = f"$.charging_periods[{position}]"
        _check_year(moment(period, "start_date_time", at=at), at=f"{at}.start_date_time")
        for place, dimension in enumerate(objects(period, "dimensions", at=at)):
            number(dimension, "volume", at=f"{at}.dimensions[{place}]")
            text(dimension, "type", at=f"{at}.dimensions[{place}]", limit=40)
