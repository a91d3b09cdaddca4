"""What peers send is read exactly, within bounds, and rejected with the place of the fault."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import MalformedDocumentError
from clearing.pricing import json_document as document
from gateway.ocpi import request_bodies
from gateway.ocpi.command_state import TRANSITIONS, CommandEvent, CommandState, advance, states_before
from gateway.ocpi.connectors import evse_key, read_connectors
from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.repository.cdrs import session_or_authorization
from gateway.ocpi.repository.objects import TariffRecord
from gateway.ocpi.tariff_source import choose
from gateway.payments.requests import ChargingProfile, TariffChoice

ROOT = Path(__file__).parents[3]
AT = datetime(2026, 10, 29, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2015-06-29T20:39:09Z", datetime(2015, 6, 29, 20, 39, 9, tzinfo=UTC)),
        ("2015-06-29T20:39:09", datetime(2015, 6, 29, 20, 39, 9, tzinfo=UTC)),
        ("2016-12-29T17:45:09.2Z", datetime(2016, 12, 29, 17, 45, 9, 200_000, tzinfo=UTC)),
        ("2018-01-01T01:08:01.123", datetime(2018, 1, 1, 1, 8, 1, 123_000, tzinfo=UTC)),
        ("2018-01-01T01:08:01.123456789Z", datetime(2018, 1, 1, 1, 8, 1, 123_456, tzinfo=UTC)),
        ("2018-01-01T01:08:01+02:00", datetime(2017, 12, 31, 23, 8, 1, tzinfo=UTC)),
    ],
)
def test_every_spelling_of_a_time_is_one_instant(text: str, expected: datetime) -> None:
    assert request_bodies.read_moment(text, at="$.t") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2018-13-01T00:00:00Z",
        "2018-01-01",
        "2018-01-01T25:00:00Z",
        "2018-02-30T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "2018-01-01T00:00:00Z\n",
        "٢٠١٨-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_rejected_by_its_place(text: str) -> None:
    with pytest.raises(OcpiRejectionError, match=r"^\$\.t: expected a UTC time"):
        request_bodies.read_moment(text, at="$.t")


@pytest.mark.parametrize("text", ["a\x00", "a\tb", "a\x7f", "\x85", "\u2028", "\x9f"])
@pytest.mark.parametrize("at", [lambda text: {"a": [{"b": text}]}, lambda text: {text: 1}])
def test_text_that_is_not_printable_is_rejected_wherever_it_is(
    text: str, at: Callable[[str], dict[str, Any]]
) -> None:
    for ascii_only in (True, False):
        raw = json.dumps(at(text), ensure_ascii=ascii_only).encode()
        with pytest.raises(OcpiRejectionError, match="expected printable characters only"):
            request_bodies.read_object(raw, name="body")
        with pytest.raises(MalformedDocumentError, match="expected printable characters only"):
            document.check_raw_text(raw, document="body")


@pytest.mark.parametrize("text", ["Zürich\u00a0HB", "家 1", "", "\u200d\U0001f50c", "a\\nb"])
def test_printable_text_is_read(text: str) -> None:
    for ascii_only in (True, False):
        raw = json.dumps({"a": text}, ensure_ascii=ascii_only).encode()
        assert request_bodies.read_object(raw, name="body").tree == {"a": text}
        document.check_raw_text(raw, document="body")


def _signed(name: str, text: str) -> bytes:
    return json.dumps({"signed_data": {"signed_values": [{"nature": "Start"}, {name: text}]}}).encode()


@pytest.mark.parametrize("name", ["plain_data", "signed_data"])
def test_signed_meter_data_keeps_its_line_breaks(name: str) -> None:
    raw = _signed(name, "OCMF|{\r\n\t}|{}\n")
    tree = request_bodies.read_object(raw, name="body").tree
    assert tree["signed_data"]["signed_values"][1][name] == "OCMF|{\r\n\t}|{}\n"
    document.check_raw_text(raw, document="body")


@pytest.mark.parametrize(
    ("name", "text"), [("nature", "a\nb"), ("plain_data", "a\x00\n"), ("plain_data", "\x85")]
)
def test_other_text_beside_signed_meter_data_is_printable(name: str, text: str) -> None:
    with pytest.raises(OcpiRejectionError, match="expected printable characters only"):
        request_bodies.read_object(_signed(name, text), name="body")


def read_or_reject(raw: bytes) -> request_bodies.Body | OcpiRejectionError:
    try:
        return request_bodies.read_object(raw, name="body")
    except OcpiRejectionError as rejection:
        return rejection


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**19), 10**19) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_json_is_read_or_rejected_never_crashed_on(value: Any) -> None:
    raw = json.dumps(value).encode()
    found = read_or_reject(raw)
    if isinstance(found, request_bodies.Body):
        assert request_bodies.read_object(found.canonical, name="body").canonical == found.canonical
    else:
        assert found.http_status in {200, 400}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_rejected_never_crashed_on(raw: bytes) -> None:
    found = read_or_reject(raw)
    assert isinstance(found, request_bodies.Body) or found.http_status in {200, 400}


def test_numbers_are_decimals_with_every_digit() -> None:
    body = request_bodies.read_object(
        b'{"a": 12345678901234567890.12345678901234567890, "b": 1.10}', name="body"
    )
    assert body.tree["a"] == Decimal("12345678901234567890.12345678901234567890")
    assert request_bodies.number(body.tree, "b") == Decimal("1.1")


@pytest.mark.parametrize(
    "name", ["NL*ABC*E1*2", "nl*abc*e1*2", "NLABCE12", "NL-ABC-E1-2", "NL ABC E1 2", "NL.ABC.E1_2"]
)
def test_an_evse_id_has_one_comparable_form(name: str) -> None:
    assert evse_key(name) == "NLABCE12"


def place(**connector: Any) -> dict[str, Any]:
    text = json.dumps(
        {
            "id": "L",
            "country": "NLD",
            "time_zone": "Europe/Amsterdam",
            "evses": [{"uid": "E", "status": "AVAILABLE", "connectors": [{"id": "1", **connector}]}],
        }
    )
    return dict(request_bodies.read_object(text.encode(), name="location").tree)


@pytest.mark.parametrize(
    ("connector", "watts"),
    [
        ({"power_type": "AC_3_PHASE", "max_voltage": 230, "max_amperage": 32}, 22_080),
        ({"power_type": "AC_2_PHASE", "max_voltage": 230, "max_amperage": 32}, 14_720),
        ({"power_type": "AC_2_PHASE_SPLIT", "max_voltage": 120, "max_amperage": 40}, 9_600),
        ({"power_type": "AC_1_PHASE", "voltage": 230, "amperage": 16}, 3_680),
        (
            {"power_type": "DC", "max_voltage": 920, "max_amperage": 400, "max_electric_power": 150_000},
            150_000,
        ),
        ({"power_type": "DC", "max_voltage": 500, "max_amperage": 125}, 62_500),
        ({}, 0),
    ],
)
def test_power_is_as_stated_or_volts_times_amperes_times_phases(
    connector: dict[str, Any], watts: int
) -> None:
    assert read_connectors(place(**connector), party_id="NL-ABC")[0].max_power_w == watts


def test_tariff_ids_of_every_version_are_read_without_case() -> None:
    assert read_connectors(place(tariff_id="T1"), party_id="x")[0].tariff_keys == ("t1",)
    assert read_connectors(place(tariff_ids=["T1", "t1", "T2"]), party_id="x")[0].tariff_keys == ("t1", "t2")
    with pytest.raises(OcpiRejectionError, match=r"\$\.evses\[0\]\.connectors\[0\]\.tariff_ids\[0\]"):
        read_connectors(place(tariff_ids=[5]), party_id="x")


def a_tariff(name: str, kind: str | None = None, **changes: Any) -> TariffRecord:
    fields: dict[str, Any] = {
        "tariff_id": name,
        "version": "2.2.1",
        "raw": b"",
        "type": kind,
        "valid_from": None,
        "valid_until": None,
        "received_at": AT,
        "superseded_at": None,
    }
    return TariffRecord(**{**fields, **changes})


@pytest.mark.parametrize(
    ("tariffs", "chosen"),
    [
        ([a_tariff("r", "REGULAR"), a_tariff("a", "AD_HOC_PAYMENT"), a_tariff("n")], "a"),
        ([a_tariff("r", "REGULAR"), a_tariff("n")], "r"),
        ([a_tariff("n")], "n"),
        ([a_tariff("p", "PROFILE_GREEN")], None),
        ([a_tariff("old", valid_until=AT), a_tariff("new", valid_from=AT)], "new"),
        ([a_tariff("soon", valid_from=AT + timedelta(seconds=1))], None),
        (
            [
                a_tariff("a", valid_from=AT - timedelta(days=2)),
                a_tariff("b", valid_from=AT - timedelta(days=1)),
            ],
            "b",
        ),
        ([a_tariff("b"), a_tariff("a")], "a"),
        ([], None),
    ],
)
def test_the_tariff_in_force_is_chosen_by_type_then_by_date(
    tariffs: list[TariffRecord], chosen: str | None
) -> None:
    for order in (tariffs, tariffs[::-1]):
        found = choose(order, at=AT)
        assert (found.tariff_id if found else None) == chosen


@pytest.mark.parametrize(
    ("types", "choice", "chosen"),
    [
        (("AD_HOC_PAYMENT", "REGULAR", None), TariffChoice.of_method("card"), "AD_HOC_PAYMENT"),
        (("REGULAR", None), TariffChoice.of_method("card"), "REGULAR"),
        (("AD_HOC_PAYMENT", "REGULAR", None), TariffChoice.of_method("app"), "REGULAR"),
        (("AD_HOC_PAYMENT", None), TariffChoice.of_method("plug_and_charge"), None),
        (("AD_HOC_PAYMENT",), TariffChoice.of_method("app"), "AD_HOC_PAYMENT"),
        (
            ("PROFILE_GREEN", "PROFILE_FAST", "REGULAR"),
            TariffChoice.of_method("app", ChargingProfile.GREEN),
            "PROFILE_GREEN",
        ),
        (("PROFILE_FAST", "REGULAR"), TariffChoice.of_method("app", ChargingProfile.GREEN), "REGULAR"),
        (("PROFILE_GREEN", "REGULAR"), TariffChoice.of_method("app"), "REGULAR"),
        (("profile_cheap", "ad_hoc_payment"), TariffChoice.of_method("card"), "ad_hoc_payment"),
    ],
)
def test_the_authorization_method_and_the_preference_choose_the_tariffs_type(
    types: tuple[str | None, ...], choice: TariffChoice, chosen: str | None
) -> None:
    found = choose([a_tariff(kind or "general", kind) for kind in types], at=AT, choice=choice)
    assert found is not None
    assert found.type == chosen


def test_references_of_others_are_not_mistaken_for_ours() -> None:
    for text in (
        None,
        "",
        "auth_",
        "auth_short",
        "AUTH",
        "ses_0000",
        "pp-100100-1948213567",
        "auth_" + "l" * 26,
    ):
        assert session_or_authorization(text) is None


def test_final_command_states_are_moved_by_nothing_but_a_late_result() -> None:
    for state in (CommandState.REJECTED, CommandState.SUCCEEDED, CommandState.FAILED):
        assert all(advance(state, event) is None for event in CommandEvent)
    late = {event for state, event in TRANSITIONS if state is CommandState.TIMED_OUT}
    assert late == {CommandEvent.SUCCEEDED, CommandEvent.FAILED}
    assert CommandState.REQUESTED in states_before(CommandEvent.SUCCEEDED)


def test_command_states_are_those_of_the_table_and_of_the_diagram() -> None:
    sql = files("gateway").joinpath("sql/migrations/0001_schema.sql").read_text("utf-8")
    table = sql.split("CREATE TABLE gateway.ocpi_command (", 1)[1]
    check = re.search(r"CHECK \(state IN \(([^)]*)\)\)", table)
    assert check is not None
    assert set(re.findall(r"'([a-z_]+)'", check[1])) == {state.value for state in CommandState}
    page = (
        (ROOT / "docs/state_machines.md")
        .read_text("utf-8")
        .split("## OCPI command", 1)[1]
        .split("\n## ", 1)[0]
    )
    drawn = set(re.findall(r"^    (\w+) --> (\w+): (\w+)$", page, re.MULTILINE))
    assert drawn == {(state.value, after.value, event.value) for (state, event), after in TRANSITIONS.items()}
