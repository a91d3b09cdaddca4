"""Versions of the API: bodies turned from one to another, ends announced, breaks named before a release."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.changelog import POLICY, changelog_page
from gateway.api.contract import breaking_changes, contract_parts
from gateway.api.openapi_export import (
    CHANGELOG,
    DOCS,
    documents,
    parts_text,
    released_parts,
    unnamed_breaks,
)
from gateway.api.problems import ProblemError
from gateway.api.versioning import choose_version
from gateway.api_versions import NEWEST, VERSIONS
from gateway.version_rules import (
    ApiVersion,
    Deprecation,
    VersionCatalogue,
    VersionChange,
    bytes_in_newest,
    bytes_in_version,
    each,
    lifecycle_headers,
    newer_query,
    newer_request,
    older_answer,
    renamed,
)

older_colour, newer_colour = renamed("color", "colour")
older_size, newer_size = renamed("size", "size_mm")
CATALOGUE = VersionCatalogue(
    versions=(
        ApiVersion(name="2024-01-01", about="The first."),
        ApiVersion(name="2025-01-01", about="Sizes in units."),
        ApiVersion(name="2026-01-01", about="Spelling."),
    ),
    changes=(
        VersionChange(
            version="2025-01-01",
            about="size",
            answers={"thing": older_size},
            requests={"makeThing": newer_size},
            queries={"listThings": newer_size},
        ),
        VersionChange(
            version="2026-01-01",
            about="colour",
            answers={"thing": older_colour, "box": each("parts", older_colour)},
            requests={"makeThing": newer_colour},
            queries={"listThings": newer_colour},
        ),
    ),
)
THING = {"object": "thing", "colour": "red", "size_mm": 3, "id": "t"}


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ("2026-01-01", THING),
        ("2025-01-01", {"object": "thing", "color": "red", "size_mm": 3, "id": "t"}),
        ("2024-01-01", {"object": "thing", "color": "red", "size": 3, "id": "t"}),
    ],
)
def test_changes_follow_one_another_wherever_the_object_stands(version: str, shown: Any) -> None:
    listed = {"object": "list", "data": [THING, {"object": "other", "inner": THING, "colour": 1}]}
    before = deepcopy(listed)
    turned = older_answer(CATALOGUE, listed, version=version)
    assert turned["data"][0] == shown
    assert turned["data"][1] == {"object": "other", "inner": shown, "colour": 1}
    assert list(turned["data"][0]) == list(shown)  # a renamed field keeps its place
    assert listed == before  # what was given stays


def test_a_request_of_an_older_version_becomes_one_of_the_newest() -> None:
    body = {"color": "red", "size": 3}
    assert newer_request(CATALOGUE, "makeThing", body, version="2024-01-01") == {
        "colour": "red",
        "size_mm": 3,
    }
    sized = {"color": "red", "size_mm": 3}
    assert newer_request(CATALOGUE, "makeThing", sized, version="2025-01-01") == {
        "colour": "red",
        "size_mm": 3,
    }
    assert newer_request(CATALOGUE, "makeThing", body, version="2026-01-01") == body
    assert newer_request(CATALOGUE, "otherOperation", body, version="2024-01-01") == body
    assert newer_request(CATALOGUE, "makeThing", [1], version="2024-01-01") == [1]


def test_lists_within_an_object_are_turned_one_by_one() -> None:
    box = {"object": "box", "parts": [{"colour": 1}, {"colour": 2}]}
    assert older_answer(CATALOGUE, box, version="2025-01-01")["parts"] == [{"color": 1}, {"color": 2}]
    assert older_answer(CATALOGUE, {"object": "box"}, version="2025-01-01") == {"object": "box", "parts": []}


@pytest.mark.parametrize("version", VERSIONS.names)
@pytest.mark.parametrize("kind", sorted({kind for change in VERSIONS.changes for kind in change.answers}))
def test_what_belongs_to_the_caller_is_given_back_as_it_came(kind: str, version: str) -> None:
    own = {"object": kind, "ids": "seat", "usage": "none", "transaction_event_response": "x"}
    for name in ("metadata", "next_action"):
        session = {"object": "session", "id": "ses_1", name: own}
        assert older_answer(VERSIONS, {"data": [session]}, version=version) == {"data": [session]}


@pytest.mark.parametrize(
    "raw", [b'{"size":NaN}', b'{"size":-Infinity}', b'{"size":"\\ud800"}', b"[" * 100_000]
)
def test_a_request_that_is_no_json_is_left_to_the_operation_to_reject(raw: bytes) -> None:
    assert bytes_in_newest(CATALOGUE, "makeThing", raw, version="2024-01-01") == raw


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str)


@given(number=NUMBERS | st.integers(-(2**53), 2**53).map(str))
def test_numbers_stay_as_they_are_written(number: str) -> None:
    body = f'{{"object":"thing","colour":{number},"size_mm":"é"}}'.encode()
    turned = bytes_in_version(CATALOGUE, body, version="2024-01-01")
    assert json.loads(turned, parse_float=Decimal)["color"] == Decimal(number)
    assert f'"color":{number}'.encode() in turned.replace(b" ", b"") or "E" in number
    back = bytes_in_newest(CATALOGUE, "makeThing", turned, version="2024-01-01")
    assert json.loads(back, parse_float=Decimal)["colour"] == Decimal(number)


def test_what_is_no_json_and_what_no_change_concerns_stays_byte_by_byte() -> None:
    assert bytes_in_newest(CATALOGUE, "makeThing", b"{no", version="2024-01-01") == b"{no"
    assert bytes_in_newest(CATALOGUE, "otherOperation", b"{ }", version="2024-01-01") == b"{ }"
    assert bytes_in_version(CATALOGUE, b"{ }", version="2026-01-01") == b"{ }"
    assert bytes_in_version(CATALOGUE, b"", version="2024-01-01") == b""


def test_a_query_string_of_an_older_version_becomes_one_of_the_newest() -> None:
    asked = {"color": "red", "size": "3", "limit": "5"}
    for version, newest in (
        ("2024-01-01", {"colour": "red", "size_mm": "3", "limit": "5"}),
        ("2025-01-01", {"colour": "red", "size": "3", "limit": "5"}),
        ("2026-01-01", asked),
    ):
        assert newer_query(CATALOGUE, "listThings", asked, version=version) == newest
    assert asked == {"color": "red", "size": "3", "limit": "5"}
    assert newer_query(CATALOGUE, "other", asked, version="2024-01-01") is asked


def test_versions_and_changes_stand_in_their_order() -> None:
    first, second = ApiVersion(name="2024-01-01", about=""), ApiVersion(name="2025-01-01", about="")
    for versions in ((), (second, first), (first, first)):
        with pytest.raises(ValueError, match="oldest first"):
            VersionCatalogue(versions=versions)
    for names in (("2024-01-01",), ("2023-01-01",)):
        with pytest.raises(ValueError, match="after the first"):
            VersionCatalogue(
                versions=(first, second),
                changes=[VersionChange(version=name, about="") for name in names],
            )


def test_the_header_goes_before_the_pin_and_an_unknown_one_is_rejected_with_the_known() -> None:
    assert choose_version(CATALOGUE, None, pinned=None) == "2026-01-01"
    assert choose_version(CATALOGUE, None, pinned="2025-01-01") == "2025-01-01"
    assert choose_version(CATALOGUE, " 2024-01-01 ", pinned="2025-01-01") == "2024-01-01"
    assert choose_version(CATALOGUE, None, pinned="2030-01-01") == "2026-01-01"  # pinned by a later release
    for text in ("2030-01-01", "", "latest"):
        with pytest.raises(ProblemError, match="unknown_api_version") as caught:
            choose_version(CATALOGUE, text, pinned="2025-01-01")
        assert caught.value.rejection.extra == {"known_versions": ["2024-01-01", "2025-01-01", "2026-01-01"]}


SINCE, UNTIL = datetime(2023, 6, 30, 23, 59, 59, tzinfo=UTC), datetime(2024, 11, 11, 23, 59, 59, tzinfo=UTC)


def test_an_end_is_announced_in_the_forms_of_the_standards() -> None:
    """The dates are the examples of RFC 9745 section 2.1 and in the form of RFC 8594 section 3."""
    old = ApiVersion(
        name="2024-01-01",
        about="",
        deprecation=Deprecation(since=SINCE, until=UNTIL, instead="Use the newest."),
    )
    catalogue = VersionCatalogue(
        versions=(old, ApiVersion(name="2025-01-01", about="")),
        operations={"makeThing": Deprecation(since=UNTIL, until=None, instead="Use makeThings.")},
    )
    place: Any = {"base_url": "https://pay.example"}
    assert lifecycle_headers(catalogue, version="2024-01-01", operation="other", **place) == {
        "Deprecation": "@1688169599",
        "Sunset": "Mon, 11 Nov 2024 23:59:59 GMT",
        "Link": '<https://pay.example/reference/versions>; rel="deprecation"; type="text/html", '
        '<https://pay.example/reference/versions>; rel="sunset"; type="text/html"',
    }
    assert lifecycle_headers(catalogue, version="2025-01-01", operation="other", **place) == {}
    only = lifecycle_headers(catalogue, version="2025-01-01", operation="makeThing", **place)
    assert (only["Deprecation"], "Sunset" in only) == (f"@{int(UNTIL.timestamp())}", False)
    page = changelog_page(catalogue)
    assert "Deprecated since 2023-06-30, works until 2024-11-11. Use the newest." in page
    assert "- `makeThing`: Deprecated since 2024-11-11. Use makeThings." in page
    for since, until in ((UNTIL, SINCE), (SINCE.replace(tzinfo=None), None)):
        with pytest.raises(ValueError, match=r"ends after|aware"):
            Deprecation(since=since, until=until, instead="")


def test_the_real_changes_turn_answers_into_what_they_were() -> None:
    vat = {"object": "party_vat", "ids": [{"vat_id": "NL1", "of_establishment": True}]}
    settled = {
        "object": "plug_and_charge_settlement",
        "id": "auth_1",
        "session_ref": "tx-1",
        "status": "Settled",
        "amount": 1050,
        "currency": "EUR",
        "receipt": "cap_1",
        "settled_at": "2026-11-30T10:00:00Z",
        "transaction_event_response": {"totalCost": 10.5},
    }
    answer = json.dumps({"a": vat, "b": settled, "c": {"object": "session", "usage": None}}).encode()
    first = VERSIONS.names[0]
    turned = json.loads(bytes_in_version(VERSIONS, answer, version=first), parse_float=str)
    assert turned["a"]["ids"] == [{"vat_id": "NL1", "seat": True}]
    assert turned["b"]["notify_settlement"] == {
        "pspRef": "auth_1",
        "status": "Settled",
        "settlementAmount": "10.50",
        "settlementTime": "2026-11-30T10:00:00Z",
        "transactionId": "tx-1",
        "receiptId": "cap_1",
    }
    long = {**settled, "session_ref": "x" * 37, "receipt": None}
    message = older_answer(VERSIONS, long, version=first)["notify_settlement"]
    assert {"transactionId", "receiptId"}.isdisjoint(message)
    event = {key: value for key, value in settled.items() if key != "transaction_event_response"}
    assert older_answer(VERSIONS, event, version=first) == event
    for source, before in (("payer", "api"), ("operator_api", "api"), ("operator_cdr", "operator_cdr")):
        session = {"object": "session", "usage": {"source": source}}
        assert older_answer(VERSIONS, session, version=first)["usage"]["source"] == before
    assert bytes_in_version(VERSIONS, answer, version=NEWEST) == answer


def test_nothing_breaks_callers_of_a_released_version_unless_a_later_version_names_it() -> None:
    found = {name: released_parts(name) for name in VERSIONS.names}
    released = {name: parts for name, parts in found.items() if parts is not None}
    assert released.keys() == set(VERSIONS.names)
    lines = unnamed_breaks(VERSIONS, released, documents()["openapi.json"])
    assert lines == [], (
        "name these in `breaks` of a change of a new version in gateway/api_versions.py, with its functions; "
        "before a version's first release, store what it holds anew: "
        "`python -m gateway.api.openapi_export --release`"
    )


def test_what_a_version_names_as_broken_is_broken() -> None:
    """Else a name that is misspelt, or that was never released, would let a real break pass."""
    now = contract_parts(documents()["openapi.json"])
    for name in VERSIONS.names[:-1]:
        parts = released_parts(name)
        assert parts is not None
        named = {part for change in VERSIONS.changes_after(name) for part in change.breaks}
        assert named == breaking_changes(parts, now).keys()


def test_the_stored_changelog_is_made_from_the_versions() -> None:
    stored = (DOCS / CHANGELOG).read_text(encoding="utf-8")
    assert stored == changelog_page(VERSIONS), "write it anew with `make api`"
    assert all(f"- {line}" in stored for line in POLICY)
    assert all(len(line) < 400 for line in POLICY)


def _document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(documents()["openapi.json"]))
    return found


DOCUMENT = _document()
PARTS = contract_parts(DOCUMENT)


def _schemas(document: Any) -> Any:
    return document["components"]["schemas"]


def _drop_field(document: Any) -> None:
    del _schemas(document)["Session"]["properties"]["flags"]


def _answer_may_be_null(document: Any) -> None:
    _schemas(document)["Session"]["properties"]["evse_id"]["type"] = ["string", "null"]


def _answer_may_be_absent(document: Any) -> None:
    _schemas(document)["Session"]["required"].remove("state")


def _value_gone_from_answer(document: Any) -> None:
    _schemas(document)["Dispute"]["properties"]["state"]["enum"].remove("won")


def _new_required_field(document: Any) -> None:
    body = _schemas(document)["RefundBody"]
    body["properties"]["why"] = {"type": "string"}
    body["required"] = [*body.get("required", ()), "why"]


def _body_field_gone(document: Any) -> None:
    del _schemas(document)["RefundBody"]["properties"]["amount"]


def _shorter(document: Any) -> None:
    _schemas(document)["WebhookEndpointBody"]["properties"]["url"]["maxLength"] = 100


def _operation_gone(document: Any) -> None:
    del document["paths"]["/v1/refunds/{id}"]


def _parameter_required(document: Any) -> None:
    parameters = document["paths"]["/v1/events"]["get"]["parameters"]
    next(one for one in parameters if one["name"] == "type")["required"] = True


def _parameter_gone(document: Any) -> None:
    parameters = document["paths"]["/v1/events"]["get"]["parameters"]
    parameters[:] = [one for one in parameters if one["name"] != "type"]


def _parameter_moved(document: Any) -> None:
    parameters = document["paths"]["/v1/events"]["get"]["parameters"]
    next(one for one in parameters if one["name"] == "type")["in"] = "header"


def _header_gone(document: Any) -> None:
    parameters = document["paths"]["/v1/events"]["get"]["parameters"]
    parameters[:] = [one for one in parameters if one["name"] != "Networkcore-Version"]


def _answers_header_gone(document: Any) -> None:
    del document["paths"]["/v1/events"]["get"]["responses"]["200"]["headers"]["RateLimit"]


def _event_gone(document: Any) -> None:
    del document["webhooks"]["capture.failed"]


@pytest.mark.parametrize(
    ("change", "part", "why"),
    [
        (_drop_field, "field Session.flags", "it is gone"),
        (_answer_may_be_null, "field Session.evse_id", "it may be null"),
        (_answer_may_be_absent, "field Session.state", "it may be absent"),
        (_value_gone_from_answer, "field Dispute.state", "it is never won any more"),
        (_new_required_field, "field RefundBody.why", "it is new and required"),
        (_body_field_gone, "field RefundBody.amount", "it is gone"),
        (_shorter, "field WebhookEndpointBody.url", "its maxLength is narrower"),
        (_operation_gone, "operation getRefund", "it is gone"),
        (_parameter_required, "operation listEvents parameter type", "it became required"),
        (_parameter_gone, "operation listEvents parameter type", "it is gone"),
        (_parameter_moved, "operation listEvents parameter type", "it moved from the query to the header"),
        (_header_gone, "operation listEvents parameter Networkcore-Version", "it is gone"),
        (_answers_header_gone, "operation listEvents answer 200 header RateLimit", "it is gone"),
        (_event_gone, "event capture.failed", "it is gone"),
    ],
)
def test_each_kind_of_break_is_found_alone_and_by_its_name(change: Any, part: str, why: str) -> None:
    after = deepcopy(DOCUMENT)
    change(after)
    assert breaking_changes(PARTS, contract_parts(after)) == {part: why}
    only = VersionCatalogue(versions=(ApiVersion(name="2026-01-01", about=""),))
    assert unnamed_breaks(only, {"2026-01-01": PARTS}, after) == [f"{part} of 2026-01-01: {why}"]


def test_what_only_adds_breaks_nobody() -> None:
    after = deepcopy(DOCUMENT)
    schemas = _schemas(after)
    schemas["Session"]["properties"]["colour"] = {"type": "string"}
    schemas["Session"]["required"].append("colour")
    schemas["RefundBody"]["properties"]["why"] = {"type": "string"}
    schemas["Dispute"]["properties"]["state"]["enum"].append("forgotten")
    schemas["WebhookEndpointBody"]["properties"]["url"]["maxLength"] = 5000
    schemas["Session"]["properties"]["currency"]["description"] = "another text"
    after["webhooks"]["capture.undone"] = after["webhooks"]["capture.failed"]
    after["paths"]["/v1/new"] = {"post": {**after["paths"]["/v1/events"]["get"], "operationId": "makeNew"}}
    assert breaking_changes(PARTS, contract_parts(after)) == {}
    assert json.loads(parts_text(PARTS)) == PARTS
