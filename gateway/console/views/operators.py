"""Operators: how each is connected over OCPI, its locations and tariffs, and the keys of its meters.

Owns: the lists, the pages, the form that prices a session, and the acts on meter keys. Must not know how OCPI
is spoken or a price computed. A party sees its own; of another it is as if there were none.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from aiohttp import web

from clearing.errors import ClearingError
from clearing.pricing.quote import Quote
from gateway.api import problems
from gateway.api.capture.prices import line_object
from gateway.api.field_types import foreign_cursor, id_of_cursor
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists
from gateway.console.figures import zone_of
from gateway.console.page import ConsolePage, paged
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from gateway.ocpi.operator_directory import LocationEntry, PriceQuestion, TariffDetails, time_zone_of
from gateway.ocpi.repository.operators import ConnectorRecord, ObjectPosition
from gateway.people.roles import ActArea

_PAGE: Final = 25
_ROWS_AT_ONCE: Final = 200
_PEER: Final = "ocp"
_REJECTED: Final = "orp"
_READS: Final = "listEvses"
_METER_KEYS: Final = "/console/operators/meter-keys"
_WH: Final = Decimal(1000)
_MINUTE: Final = 60
_CONNECTION_COLUMNS: Final = (
    "id",
    "party",
    "parties",
    "state",
    "version",
    "versions_url",
    "created",
    "registered",
    "ended",
)
_CONNECTOR_COLUMNS: Final = (
    "party",
    "location",
    "name",
    "evse",
    "connector",
    "status",
    "standard",
    "power_w",
    "tariffs",
)
_MODULES: Final = (
    "credentials",
    "locations",
    "tariffs",
    "sessions",
    "cdrs",
    "tokens",
    "commands",
    "chargingprofiles",
    "hubclientinfo",
    "payments",
    "bookings",
)


async def connections(page: ConsolePage) -> web.StreamResponse:
    """Platforms that are invited, registered or gone."""
    party, listed = _party(page), page.services.operators.list_connections
    if _is_file(page):
        return await csv_file.answer_pages(
            page,
            "connections",
            _CONNECTION_COLUMNS,
            lambda last: listed(
                party_id=party, before=None if last is None else last.id, limit=_ROWS_AT_ONCE
            ),
            lambda one: [
                (
                    format_id(_PEER, one.id),
                    one.party_id,
                    one.parties,
                    one.state,
                    one.version,
                    one.versions_url,
                    one.created_at,
                    one.registered_at,
                    one.ended_at,
                )
            ],
        )
    found = await listed(party_id=party, before=id_of_cursor(page.cursor, _PEER), limit=_PAGE + 1)
    return page.respond(
        "connections.html",
        found=paged(found, limit=_PAGE, cursor=lambda one: format_id(_PEER, one.id)),
        name=lambda one: format_id(_PEER, one.id),
        party=page.request.query.get("party", ""),
    )


async def connection(page: ConsolePage) -> web.Response:
    """One connection: its handshakes call by call, modules, lists, pushes."""
    page.calls.need(_READS)
    try:
        peer_id = parse_id(_PEER, page.request.match_info["id"])
    except MalformedIdError as error:
        raise ProblemError(problems.NOT_FOUND, f"{error}.") from None
    found = await page.services.operators.find_connection(peer_id, party_id=page.own_party)
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such connection.")
    offered = {(one.module, one.role): one.url for one in found.endpoints}
    named = [*_MODULES, *sorted({one.module for one in found.endpoints} - set(_MODULES))]
    return page.respond(
        "connection.html",
        found=found,
        id=format_id(_PEER, peer_id),
        modules=[one for one in named if (one, "SENDER") in offered or (one, "RECEIVER") in offered],
        offered=offered,
    )


async def rejected(page: ConsolePage) -> web.StreamResponse:
    """Messages of operators that were rejected, with the reason."""
    party, listed = _party(page), page.services.operators.list_rejections
    if _is_file(page):
        return await csv_file.answer_pages(
            page,
            "rejected-pushes",
            ("party", "module", "object", "version", "status_code", "reason", "pulled", "received"),
            lambda last: listed(
                party_id=party, before=None if last is None else last.id, limit=_ROWS_AT_ONCE
            ),
            lambda one: [
                (
                    one.party_id,
                    one.module,
                    one.object_id,
                    one.version,
                    one.status_code,
                    one.reason,
                    one.pulled,
                    one.received_at,
                )
            ],
        )
    found = await listed(
        party_id=party,
        before=id_of_cursor(page.cursor, _REJECTED),
        limit=_PAGE + 1,
    )
    return page.respond(
        "rejected_pushes.html",
        found=paged(found, limit=_PAGE, cursor=lambda one: format_id(_REJECTED, one.id)),
        party=page.request.query.get("party", ""),
    )


async def locations(page: ConsolePage) -> web.StreamResponse:
    """Locations with their EVSEs and connectors, and the tariff of each."""
    party, listed = _party(page), page.services.operators.list_locations
    if _is_file(page):
        return await csv_file.answer_pages(
            page,
            "locations",
            _CONNECTOR_COLUMNS,
            lambda last: listed(
                party_id=party,
                after=None
                if last is None
                else ObjectPosition(party_id=last.record.party_id, key=last.record.location_key),
                limit=_ROWS_AT_ONCE,
            ),
            _connector_rows,
        )
    found = await listed(party_id=party, after=_position(page), limit=_PAGE + 1)
    return page.respond(
        "locations.html",
        found=paged(
            found, limit=_PAGE, cursor=lambda one: f"{one.record.party_id}/{one.record.location_key}"
        ),
        evses=_evses,
        party=page.request.query.get("party", ""),
    )


def _connector_rows(entry: LocationEntry) -> list[tuple[Any, ...]]:
    place = (entry.record.party_id, entry.record.location_id, entry.name)
    return [
        (
            *place,
            one.evse_id or one.evse_uid,
            one.connector_id,
            one.status,
            one.standard,
            one.max_power_w or None,
            " ".join(one.tariff_keys),
        )
        for one in entry.connectors
    ]


def _evses(connectors: Sequence[ConnectorRecord]) -> list[tuple[str, list[ConnectorRecord]]]:
    """Connectors by the EVSE that they are of, in order."""
    found: dict[str, list[ConnectorRecord]] = {}
    for one in connectors:
        found.setdefault(one.evse_id or one.evse_uid, []).append(one)
    return list(found.items())


async def tariffs(page: ConsolePage) -> web.StreamResponse:
    """Tariffs that stand now, as a driver reads them, with how many faults each has."""
    party, locale, listed = _party(page), page.t.language, page.services.operators.list_tariffs
    if _is_file(page):
        return await csv_file.answer_pages(
            page,
            "tariffs",
            ("party", "tariff", "type", "currency", "valid_from", "valid_until", "warnings", "prices"),
            lambda last: listed(
                party_id=party,
                after=None
                if last is None
                else ObjectPosition(party_id=last.record.party_id, key=last.record.tariff_key),
                limit=_ROWS_AT_ONCE,
                locale=locale,
            ),
            lambda one: [
                (
                    one.record.party_id,
                    one.record.tariff_id,
                    one.record.type,
                    one.currency,
                    one.record.valid_from,
                    one.record.valid_until,
                    one.warnings,
                    one.problem or " | ".join(one.display),
                )
            ],
        )
    found = await listed(party_id=party, after=_position(page), limit=_PAGE + 1, locale=locale)
    return page.respond(
        "tariffs.html",
        found=paged(found, limit=_PAGE, cursor=lambda one: f"{one.record.party_id}/{one.record.tariff_key}"),
        party=page.request.query.get("party", ""),
    )


async def tariff(page: ConsolePage) -> web.Response:
    """One tariff: its prices, what the checks find, and what a session would cost."""
    page.calls.need(_READS)
    match = page.request.match_info
    found = await page.services.operators.find_tariff(
        owner=match["party"],
        key=match["tariff"].lower(),
        party_id=page.own_party,
        locale=page.t.language,
    )
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such tariff.")
    asked = _asked(page, found)
    quoted, problem = _quoted(page, found, asked)
    lines = [] if quoted is None else [line_object(one).as_json() for one in quoted.priced.lines]
    return page.respond(
        "tariff.html",
        found=found,
        asked=asked,
        quoted=quoted,
        lines=lines,
        problem=problem,
        zone_name=_zone_of(found, asked["connector"]),
    )


def _asked(page: ConsolePage, found: TariffDetails) -> dict[str, str]:
    """What the form asks for; unless it does, 30 kWh in an hour from 2 o'clock of the next night."""
    query = page.request.query
    night = (page.services.now() + timedelta(days=1)).date()
    first = found.connectors[0].name if found.connectors else ""
    return {
        "kwh": query.get("kwh", "30"),
        "minutes": query.get("minutes", "60"),
        "start": query.get("start", f"{night}T02:00"),
        "connector": query.get("connector", first),
    }


def _chosen(found: TariffDetails, name: str) -> ConnectorRecord | None:
    return next((one for one in found.connectors if one.name == name), None)


def _zone_of(found: TariffDetails, name: str) -> str:
    return time_zone_of(_chosen(found, name))


def _quoted(page: ConsolePage, found: TariffDetails, asked: dict[str, str]) -> tuple[Quote | None, str]:
    """The price that was asked for, or why there is none."""
    if found.entry.problem:
        return None, ""
    try:
        local = datetime.fromisoformat(asked["start"]).replace(
            tzinfo=zone_of(_zone_of(found, asked["connector"]))
        )
        question = PriceQuestion(
            energy_wh=int(Decimal(asked["kwh"].replace(",", ".")) * _WH),
            duration_s=int(asked["minutes"]) * _MINUTE,
            start=local,
            connector=_chosen(found, asked["connector"]),
        )
        return page.services.operators.price(found.entry.record, question), ""
    except (ValueError, InvalidOperation, OverflowError):
        return None, page.t("tariffs.unfit")
    except ClearingError as error:
        return None, str(error)


async def meter_keys(page: ConsolePage) -> web.StreamResponse:
    """The keys of a CPO's meters, and what its CDRs must carry."""
    party = page.own_party or page.request.query.get("party", "")
    query = {"limit": str(_PAGE), **page.query("cursor", "state")}
    if not party:
        page.calls.need("listMeterKeys")
        operators = await page.calls.read("listParties", query={"limit": "100"})
        cpos = [one for one in operators["data"] if one["kind"] == "cpo"]
        return page.respond("meter_keys.html", found=None, policies=[], party="", cpos=cpos, state="")
    found = await page.calls.read_where_there("listMeterKeys", id=party, query=query)
    policies = await page.calls.read_where_there("listMeterPolicies", id=party)
    if found is None or policies is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such operator.")
    if _is_file(page):
        listed = csv_lists.of(csv_lists.METER_KEYS, id=party)
        return await csv_file.answer_list(page, listed, query=page.query("state"))
    return page.respond(
        "meter_keys.html",
        found=found,
        policies=policies["data"],
        party=party,
        cpos=[],
        state=page.request.query.get("state", ""),
    )


async def register_meter_key(page: ConsolePage) -> web.Response:
    """Register a key; another for a known meter waits for a second person."""
    party = page.own_party or page.form.get("party", "")
    names = ("meter_serial", "gateway_serial", "charge_point_id", "public_key", "curve")
    body = {name: page.form[name].strip() for name in names if page.form.get(name, "").strip()}
    outcome = await page.act("registerMeterKey", ActArea.METERS, body=body, id=party)
    return page.back(f"{_METER_KEYS}?party={party}", outcome)


async def act_on_meter_key(page: ConsolePage) -> web.Response:
    """End a key now, or decide on a proposed one."""
    acts = {"end": "endMeterKey", "accept": "acceptMeterKey", "reject": "rejectMeterKey"}
    operation = acts.get(page.form.get("act", ""))
    if operation is None:
        raise web.HTTPNotFound
    outcome = await page.act(operation, ActArea.METERS, body={}, id=page.request.match_info["id"])
    return page.back(f"{_METER_KEYS}?party={page.own_party or page.form.get('party', '')}", outcome)


def _party(page: ConsolePage) -> str | None:
    """Whose objects a list shows: one's own, or for the platform everybody's or those of one."""
    page.calls.need(_READS)
    return page.own_party or page.request.query.get("party") or None


def _is_file(page: ConsolePage) -> bool:
    return page.request.query.get("format") == "csv"


def _position(page: ConsolePage) -> ObjectPosition | None:
    if page.cursor is None:
        return None
    party, mark, key = page.cursor.partition("/")
    if not mark:
        raise foreign_cursor()
    return ObjectPosition(party_id=party, key=key)
