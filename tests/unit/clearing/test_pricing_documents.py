"""Reading tariffs and CDRs of three versions: what is kept, what is noted, what is rejected and where."""

import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from clearing.errors import MalformedDocumentError, UnknownCurrencyError
from clearing.pricing.cdr import parse_any_cdr, parse_cdr
from clearing.pricing.cdr_fields import unknown_cdr_fields
from clearing.pricing.json_document import MAX_DOCUMENT_BYTES
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.tariff import freeze, parse_tariff, recognize_tariff
from tests.unit.clearing.pricing_builders import (
    V221,
    V230,
    Number,
    cdr_tree,
    codes,
    component,
    element,
    encode,
    tariff_of,
    tariff_tree,
)

V211 = OcpiVersion.V2_1_1
ENERGY = component("ENERGY", "0.50")
EXAMPLES = os.environ.get("OCPI_EXAMPLES_DIR", "")


def rejected_tariff(raw: bytes) -> MalformedDocumentError:
    with pytest.raises(MalformedDocumentError) as rejected:
        freeze(raw, version=V221)
    return rejected.value


def rejected_cdr(raw: bytes) -> MalformedDocumentError:
    with pytest.raises(MalformedDocumentError) as rejected:
        parse_cdr(raw, version=V221)
    return rejected.value


# Numbers


def test_twenty_digits_survive_exactly() -> None:
    tariff = tariff_of(element(component("ENERGY", "12345678901234567.890")))
    assert tariff.elements[0].components[0].price == Decimal("12345678901234567.890")
    cdr = parse_cdr(encode(cdr_tree((0, {"ENERGY": "0.12345678901234567891"}))), version=V221)
    assert cdr.periods[0].dimensions[0].volume == Decimal("0.12345678901234567891")


@pytest.mark.parametrize(
    "number",
    ["1e400", "-1e400", '"NaN"', '"Infinity"', "1e-400", "1" * 60, "0." + "1" * 60, '"1e30"', '"sNaN"'],
)
def test_an_absurd_number_is_rejected_with_its_path(number: str) -> None:
    tariff = rejected_tariff(encode(tariff_tree(element(component("ENERGY", number)))))
    assert tariff.path == "$.elements[0].price_components[0].price"
    cdr = rejected_cdr(encode(cdr_tree((0, {"ENERGY": number}))))
    assert cdr.path == "$.charging_periods[0].dimensions[0].volume"
    assert len(str(cdr)) < 300


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e99999999999999999999", "0x10", "1_0", "."]
)
def test_what_json_has_no_number_for_is_rejected(number: str) -> None:
    rejected_tariff(encode(tariff_tree(element(component("ENERGY", number)))))
    rejected_cdr(encode(cdr_tree((0, {"ENERGY": number}))))


def test_a_number_written_as_text_is_read_as_in_the_example_of_2_1_1() -> None:
    assert tariff_of(element(component("TIME", '"2.00"'))).elements[0].components[0].price == 2


# Shape


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"id": None}, "$.id", "Expected 'str'"),
        ({"elements": {}}, "$.elements", "Expected 'array'"),
        (
            {"elements": [{"price_components": [{"type": "TIME"}]}]},
            "$.elements[0].price_components[0]",
            "'price'",
        ),
        (
            {"elements": [element(component("TIME", "1", vat="-1"))]},
            "$.elements[0].price_components[0].vat",
            "0 or",
        ),
        (
            {"elements": [element(component("TIME", "1", step=None) | {"step_size": Number("1.5")})]},
            "$.elements[0].price_components[0].step_size",
            "whole number",
        ),
        ({"min_price": {}}, "$.min_price", "excl_vat"),
        ({"max_price": 5}, "$.max_price", "object"),
        ({"start_date_time": "soon"}, "$.start_date_time", "datetime"),
    ],
)
def test_a_malformed_tariff_says_what_and_where(change: dict[str, Any], path: str, words: str) -> None:
    error = rejected_tariff(encode(tariff_tree(element(ENERGY)) | change))
    assert (error.document, error.path) == ("tariff", path)
    assert words in error.problem


@pytest.mark.parametrize("field", ["id", "currency", "elements"])
def test_a_tariff_without_a_required_field_names_it(field: str) -> None:
    tree = tariff_tree(element(ENERGY))
    del tree[field]
    assert f"'{field}'" in rejected_tariff(encode(tree)).problem


@pytest.mark.parametrize("field", ["id", "start_date_time", "end_date_time", "currency", "charging_periods"])
def test_a_cdr_without_a_required_field_names_it(field: str) -> None:
    tree = cdr_tree((0, {"ENERGY": "1"}))
    del tree[field]
    assert f"'{field}'" in rejected_cdr(encode(tree)).problem


def test_a_cdr_without_periods_is_rejected() -> None:
    assert rejected_cdr(encode(cdr_tree())).path == "$.charging_periods"


def test_an_unknown_currency_is_rejected() -> None:
    with pytest.raises(UnknownCurrencyError):
        tariff_of(element(ENERGY), currency="XYZ")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"tariff"',
        b"\xff\xfe",
        b'{"id": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"id":"1","currency":"EUR","elements":[],"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=["empty", "open", "list", "null", "text", "utf16", "utf8", "deep list", "deep object", "deep field"],
)
def test_what_is_not_a_tariff_object_is_rejected(raw: bytes) -> None:
    assert rejected_tariff(raw).document == "tariff"
    assert rejected_cdr(raw).document == "CDR"


def test_a_body_beyond_the_bound_is_rejected_unread() -> None:
    body = b" " * (MAX_DOCUMENT_BYTES + 1)
    assert "at most" in rejected_tariff(body).problem
    assert "at most" in rejected_cdr(body).problem


def test_a_name_that_occurs_twice_is_rejected() -> None:
    raw = b'{"id":"1","id":"2","currency":"EUR","elements":[]}'
    assert "twice" in rejected_tariff(raw).problem


def test_unknown_fields_stay_in_the_snapshot_and_are_noted() -> None:
    tree = tariff_tree(element(ENERGY | {"x_green": 1}), x_vendor={"a": 1})
    tariff = parse_tariff(encode(tree), version=V221)
    assert {note.path for note in tariff.notes} == {"$.x_vendor", "$.elements[0].price_components[0].x_green"}
    assert b'"x_vendor":{"a":1}' in freeze(encode(tree), version=V221).canonical


def test_unknown_fields_of_a_cdr_are_named_with_their_path() -> None:
    tree = cdr_tree((0, {"ENERGY": "1"}), x_vendor=1, cdr_location={"id": "L1", "floor": "2"})
    tree["charging_periods"][0]["dimensions"][0]["x_meter"] = "7"
    paths = {note.path for note in unknown_cdr_fields(encode(tree), version=V221)}
    assert paths == {"$.x_vendor", "$.cdr_location.floor", "$.charging_periods[0].dimensions[0].x_meter"}


@pytest.mark.skipif(not EXAMPLES, reason="OCPI_EXAMPLES_DIR is not set")
def test_no_field_of_the_specification_s_own_cdrs_is_unknown() -> None:
    for path in examples("cdr"):
        raw = path.read_bytes()
        if "charging_periods" in json.loads(raw):
            assert unknown_cdr_fields(raw, version=version_of(path)) == ()


def test_a_tariff_without_components_is_noted() -> None:
    assert codes(tariff_of()) == {"tariff_empty"}


# Snapshots


def test_a_snapshot_is_the_same_however_the_json_is_written() -> None:
    one = b'{"id":"1","currency":"EUR","elements":[{"price_components":[{"type":"TIME","price":1.50}]}]}'
    other = b"""{ "elements": [ {"price_components": [ {"price": 15e-1, "type": "TIME"} ] } ],
                  "currency": "EUR", "id": "1" }"""
    assert freeze(one, version=V221) == freeze(other, version=V221)
    assert b'"price":1.5' in freeze(one, version=V221).canonical


def test_a_snapshot_s_canonical_json_freezes_to_itself() -> None:
    snapshot = freeze(
        encode(tariff_tree(element(ENERGY), min_price={"excl_vat": Number("1.00")})), version=V221
    )
    assert freeze(snapshot.canonical, version=V221) == snapshot
    assert (snapshot.tariff_id, snapshot.country_code, snapshot.party_id, snapshot.currency) == (
        "T1",
        "NL",
        "ABC",
        "EUR",
    )


def test_another_price_has_another_hash() -> None:
    hashes = {
        freeze(encode(tariff_tree(element(component("TIME", price)))), version=V221).sha256
        for price in ("1", "1.0", "1.0000000000000001", "-1")
    }
    assert len(hashes) == 3


# Times


@pytest.mark.parametrize(
    "text",
    ["2026-03-02T12:00:00Z", "2026-03-02T12:00:00", "2026-03-02T12:00:00.000Z", "2026-03-02T13:00:00+01:00"],
)
def test_every_way_to_write_a_time_is_utc(text: str) -> None:
    tree = cdr_tree((0, {"ENERGY": "1"}), start_date_time=text)
    tree["charging_periods"][0]["start_date_time"] = text
    cdr = parse_cdr(encode(tree), version=V221)
    for moment in (cdr.start, cdr.periods[0].start):
        assert (moment, moment.utcoffset()) == (datetime(2026, 3, 2, 12, tzinfo=UTC), timedelta(0))


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2199-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
    ],
)
@pytest.mark.parametrize("field", ["start_date_time", "end_date_time", "last_updated"])
def test_a_time_beyond_all_calendars_is_rejected_with_its_path(text: str, field: str) -> None:
    assert rejected_cdr(encode(cdr_tree((0, {"ENERGY": "1"}), **{field: text}))).path == f"$.{field}"
    if field != "last_updated":
        assert rejected_tariff(encode(tariff_tree(element(ENERGY), **{field: text}))).path == f"$.{field}"


def test_a_period_beyond_all_calendars_is_rejected_with_its_path() -> None:
    tree = cdr_tree((0, {"ENERGY": "1"}))
    tree["charging_periods"][0]["start_date_time"] = "9999-12-31T23:59:59Z"
    assert rejected_cdr(encode(tree)).path == "$.charging_periods[0].start_date_time"


# Versions


def test_a_cdr_of_2_1_1_is_read_from_its_own_fields() -> None:
    tree = cdr_tree((0, {"ENERGY": "1"}))
    tree["stop_date_time"] = tree.pop("end_date_time")
    del tree["cdr_token"]
    tree |= {
        "auth_id": "DE-ABC-1",
        "total_cost": Number("4.20"),
        "location": {
            "id": "L1",
            "country": "DEU",
            "time_zone": "Europe/Berlin",
            "evses": [{"uid": "E1", "evse_id": "DE*ABC*E1", "connectors": [{"id": "2"}]}],
        },
    }
    raw = encode(tree)
    cdr = parse_cdr(raw, version=V211)
    assert parse_any_cdr(raw) == cdr
    assert (cdr.auth_id, cdr.time_zone, cdr.evse_uid, cdr.evse_id, cdr.connector_id, cdr.location_id) == (
        "DE-ABC-1",
        "Europe/Berlin",
        "E1",
        "DE*ABC*E1",
        "2",
        "L1",
    )
    assert cdr.total_cost is not None
    assert (cdr.total_cost.excl_vat, cdr.total_cost.incl_vat) == (Decimal("4.20"), None)


def test_the_taxes_of_2_3_0_are_added_to_the_net() -> None:
    cost = {
        "before_taxes": Number("10.00"),
        "taxes": [{"name": "GST", "amount": Number("0.50")}, {"name": "QST", "amount": Number("0.9975")}],
    }
    raw = encode(cdr_tree((0, {"ENERGY": "1"}), total_cost=cost))
    cdr = parse_cdr(raw, version=V230)
    assert parse_any_cdr(raw) == cdr
    assert cdr.total_cost is not None
    assert cdr.total_cost.incl_vat == Decimal("11.4975")


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"tax_included": "NO"}, V230),
        ({"max_price": {"before_taxes": 1}}, V230),
        ({}, V221),
    ],
)
def test_a_tariff_s_version_is_recognized_by_its_fields(fields: dict[str, Any], version: OcpiVersion) -> None:
    assert recognize_tariff(encode(tariff_tree(element(ENERGY), **fields))) is version


def test_a_tariff_without_owner_and_tax_is_of_2_1_1() -> None:
    tree = tariff_tree(element(ENERGY))
    del tree["country_code"], tree["party_id"]
    assert recognize_tariff(encode(tree)) is V211


# The specification's own JSON, unaltered


def examples(name: str) -> list[Path]:
    return sorted(path for path in Path(EXAMPLES).glob("*/*.json") if name in path.name) if EXAMPLES else []


def version_of(path: Path) -> OcpiVersion:
    return OcpiVersion(path.parent.name.partition("-")[0])


@pytest.mark.skipif(not EXAMPLES, reason="OCPI_EXAMPLES_DIR is not set")
def test_every_tariff_and_cdr_of_the_specification_is_read() -> None:
    read = 0
    for path in examples("tariff") + examples("cdr"):
        raw = path.read_bytes()
        tree = json.loads(raw)
        if "elements" in tree and "id" in tree:
            freeze(raw, version=version_of(path))
            read += 1
        elif "charging_periods" in tree and "total_cost" in tree:
            cdr = parse_cdr(raw, version=version_of(path))
            assert parse_tariff(cdr.tariffs_raw[0], version=cdr.version).id == "12"
            read += 1
    assert read > 60


def test_a_cdr_to_be_settled_needs_an_id() -> None:
    tree = cdr_tree((0, {"ENERGY": "10"}))
    del tree["id"]
    with pytest.raises(MalformedDocumentError, match="missing required field 'id'"):
        parse_cdr(encode(tree), version=V221)
    assert parse_cdr(encode(tree), version=V221, needs_id=False).id == ""
