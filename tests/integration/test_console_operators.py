"""The console for operators, developers and the night shift: what it says, whose it is, who may act."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from gateway.api.server import REQUEST_LOG
from gateway.database import Pool
from tests.fakes.console import ConsoleOfTest, Visitor, open_console, paid_session
from tests.fakes.console_operators import OPERATOR, add_decision, add_operator
from tests.unit.clearing.meter_builders import public_der

TARIFF = f"/console/operators/tariffs/{OPERATOR}/t1"
NIGHT = "kwh=30&minutes=60&start=2026-11-30T02:00&connector=loc1/E1/1"
DAY = NIGHT.replace("T02:00", "T12:00")


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        await paid_session(opened.api)
        yield opened


async def text_of(visitor: Visitor, path: str) -> str:
    answer = await visitor.get(path)
    assert answer.status == 200, f"{path}: {answer.text[:400]}"
    assert "<script>document" not in answer.text
    assert "<img src=x" not in answer.text
    return answer.text


async def test_a_connection_shows_its_handshake_call_by_call(console: ConsoleOfTest) -> None:
    name = await add_operator(console.api.services.pool)
    visitor = await console.signed_in(role="viewer")
    assert name in await text_of(visitor, "/console/operators")
    page = await text_of(visitor, f"/console/operators/connections/{name}")
    assert page.index("OCPI 3001") < page.index("OCPI 1000"), "the newest call is on top"
    assert "cpo.example/ocpi/versions" in page
    assert "token-a" not in page


async def test_a_tariff_shows_its_faults_the_afir_check_and_a_price(
    console: ConsoleOfTest,
) -> None:
    await add_operator(console.api.services.pool)
    visitor = await console.signed_in(role="viewer")
    assert "NL*ABC*E0001" in await text_of(visitor, "/console/operators/locations")
    night, day = await text_of(visitor, f"{TARIFF}?{NIGHT}"), await text_of(visitor, f"{TARIFF}?{DAY}")
    assert "7.14" in night, "30 kWh at 0.20 with 19 % VAT"
    assert "17.85" in day, "30 kWh at 0.50 with 19 % VAT"
    assert "Start, in Europe/Amsterdam" in night, "the hour is that of the place"
    assert ">fits<" in night
    per_minute = await text_of(visitor, f"/console/operators/tariffs/{OPERATOR}/by-minute")
    assert "T50" in per_minute
    wrong = await text_of(visitor, f"{TARIFF}?kwh=x&minutes=60&start=never")
    assert "Give kWh" in wrong
    assert "outside" in await text_of(visitor, f"{TARIFF}?{NIGHT.replace('kwh=30', 'kwh=99999')}")


async def test_an_operator_sees_its_own_and_another_party_nothing(console: ConsoleOfTest) -> None:
    pool = console.api.services.pool
    name, decision = await add_operator(pool), await add_decision(pool)
    own = await console.signed_in(party=OPERATOR, role="viewer")
    other = await console.signed_in(party="superapp", role="administrator")
    for path in (
        f"/console/operators/connections/{name}",
        TARIFF,
        f"/console/plug-and-charge/decisions/{decision}",
    ):
        assert await text_of(own, path)
        assert (await other.get(path)).status == 404, path
    for path in ("", "/locations", "/tariffs", "/rejected"):
        for query in ("", f"?party={OPERATOR}"):
            listed = await text_of(other, f"/console/operators{path}{query}")
            assert f"/{OPERATOR}/" not in listed
            assert name not in listed
            assert "NL*ABC" not in listed
        assert OPERATOR in await text_of(own, f"/console/operators{path}")
    foreign = await other.get(f"/console/operators/meter-keys?party={OPERATOR}")
    assert OPERATOR not in re.sub(r'href="[^"]*"', "", foreign.text)
    assert decision not in await text_of(other, f"/console/plug-and-charge?party={OPERATOR}")
    assert (await own.get("/console/plug-and-charge/revocation")).status == 403


async def test_a_decision_is_explained_check_by_check(console: ConsoleOfTest) -> None:
    decision = await add_decision(console.api.services.pool)
    platform = await console.signed_in(role="support")
    page = await text_of(platform, f"/console/plug-and-charge/decisions/{decision}")
    results = re.findall(r"<li class=\"(\w*)\"><p class=\"what\"><span>(\d)\.", page)
    assert results == [
        ("good", "1"),
        ("good", "2"),
        ("good", "3"),
        ("bad", "4"),
        ("", "5"),
        ("", "6"),
        ("", "7"),
    ]
    assert "NLNCOC12345678" in page
    own = await console.signed_in(party=OPERATOR, role="viewer")
    shown = await text_of(own, f"/console/plug-and-charge/decisions/{decision}")
    assert "NLNCOC12345678" not in shown, "whose contract it is, is the platform's to see"


async def test_an_administrator_of_a_party_makes_rotates_and_revokes_keys(console: ConsoleOfTest) -> None:
    chief = await console.signed_in(party="parking", role="administrator")
    form = {
        "scope.capture:read": "yes",
        "scope.finance:write": "yes",
        "expires": "2027-01-31",
        "networks": "203.0.113.0/24, 198.51.100.7",
        "once": "one",
    }
    foreign = await chief.post("/console/keys", form)
    assert "rejected" in foreign.headers["Location"], "a scope that the maker lacks"
    del form["scope.finance:write"]
    made = await chief.post("/console/keys", form | {"once": "two"})
    assert (made.status, made.headers["Cache-Control"]) == (200, "no-store")
    token = re.search(r"nck_[a-z0-9]{12}_[\w-]{43}", made.text)
    assert token is not None
    again = await chief.post("/console/keys", form | {"once": "two"})
    assert token[0] not in again.text, "a form that is sent twice makes one key and shows it once"
    assert token[0] not in (await chief.get("/console/keys")).text
    listed = await console.api.call("GET", "/v1/parties/parking/api-keys", party="admin")
    key = listed.json["data"][-1]
    assert key["scopes"] == ["capture:read"]
    assert key["expires"] == "2027-01-31T23:59:59Z"
    assert key["allowed_networks"] == ["203.0.113.0/24", "198.51.100.7/32"]
    rotated = await chief.post(f"/console/keys/{key['id']}", {"act": "rotate", "once": "three"})
    assert re.search(r"nck_[a-z0-9]{12}_[\w-]{43}", rotated.text)
    await chief.post(f"/console/keys/{key['id']}", {"act": "revoke", "once": "four"})
    listed = await console.api.call("GET", "/v1/parties/parking/api-keys", party="admin")
    assert next(one for one in listed.json["data"] if one["id"] == key["id"])["revoked"]


async def test_keys_are_not_for_others_to_make(console: ConsoleOfTest) -> None:
    form = {"scope.capture:read": "yes", "once": "x", "party": "parking"}
    for party, role in (("parking", "developer"), ("parking", "viewer"), ("platform", "developer")):
        visitor = await console.signed_in(party=party, role=role)
        answer = await visitor.post("/console/keys", form)
        rejected = answer.status in {403, 404} or "rejected" in answer.headers.get("Location", "")
        assert rejected, (party, role)
        page = await visitor.get(f"/console/keys?party={party}")
        assert page.status == 403 or 'action="/console/keys' not in page.text, (party, role)
    chief = await console.signed_in(party="superapp", role="administrator")
    await chief.post("/console/keys", form | {"once": "y"})
    listed = await console.api.call("GET", "/v1/parties/parking/api-keys", party="admin")
    assert len(listed.json["data"]) == 1, "the party in a form counts for the platform's people alone"


async def test_a_developer_finds_a_request_by_its_id(console: ConsoleOfTest) -> None:
    asked = await console.api.call("GET", "/v1/sessions/ses_none")
    assert console.api.client.app is not None
    await console.api.client.app[REQUEST_LOG].store()
    developer = await console.signed_in(party="parking", role="developer")
    found = await text_of(developer, f"/console/requests?request_id={asked.headers['X-Request-Id']}")
    assert "/v1/sessions/{id}" in found
    one = re.search(r"/console/requests/rql_\w+", found)
    assert one is not None
    assert "not_found" in await text_of(developer, one[0])
    assert "/v1/authorizations" not in await text_of(developer, "/console/requests?failed=yes")
    other = await console.signed_in(party="superapp", role="developer")
    assert (await other.get(one[0])).status == 404
    viewer = await console.signed_in(party="parking", role="viewer")
    assert (await viewer.get("/console/requests")).status == 403


async def test_events_of_a_span_are_sent_again(console: ConsoleOfTest) -> None:
    developer = await console.signed_in(party="parking", role="developer")
    hook = re.search(r"/console/webhooks/whe_\w+", await text_of(developer, "/console/webhooks"))
    assert hook is not None
    since = console.api.clock.now() - timedelta(days=30)
    form = {"since": since.strftime("%Y-%m-%dT%H:%M"), "once": "a"}
    done = await developer.post(f"{hook[0]}/replay", form)
    assert done.status == 200
    assert re.search(r"\d+ events are sent again", done.text)
    wrong = await developer.post(f"{hook[0]}/replay", {"since": "yesterday", "once": "b"})
    assert wrong.status == 400


async def test_meter_keys_are_registered_and_ended_by_who_may(console: ConsoleOfTest) -> None:
    form = {"meter_serial": "M-1", "public_key": public_der().hex(), "party": "superapp", "once": "m1"}
    viewer = await console.signed_in(party=OPERATOR, role="viewer")
    assert "rejected" in (await viewer.post("/console/operators/meter-keys", form)).headers["Location"]
    finance = await console.signed_in(party=OPERATOR, role="finance")
    done = await finance.post("/console/operators/meter-keys", form)
    assert "notice=done" in done.headers["Location"], done.headers["Location"]
    listed = await text_of(finance, "/console/operators/meter-keys")
    assert "M-1" in listed
    key = re.search(r"/console/operators/meter-keys/mtk_\w+", listed)
    assert key is not None
    console.api.clock.at += timedelta(days=1)
    ended = await finance.post(key[0], {"act": "end", "once": "m2"})
    assert "notice=done" in ended.headers["Location"]


async def test_every_list_is_a_file_too(console: ConsoleOfTest) -> None:
    pool = console.api.services.pool
    await add_operator(pool)
    await add_decision(pool)
    visitor = await console.signed_in()
    for path, rows in (
        ("/console/operators", 1),
        ("/console/operators/rejected", 1),
        ("/console/operators/locations", 1),
        ("/console/operators/tariffs", 2),
        (f"/console/operators/meter-keys?party={OPERATOR}", 0),
        ("/console/plug-and-charge", 1),
        ("/console/plug-and-charge/contracts", 0),
        ("/console/plug-and-charge/roots", 0),
        ("/console/plug-and-charge/revocation", 0),
        ("/console/operations", 0),
        ("/console/keys?party=parking", 1),
    ):
        mark = "&" if "?" in path else "?"
        answer = await visitor.get(f"{path}{mark}format=csv")
        assert answer.status == 200, f"{path}: {answer.text[:300]}"
        assert answer.headers["Content-Type"].startswith("text/csv"), path
        assert len(answer.text.splitlines()) == rows + 1, path
    requests = await visitor.get("/console/requests?format=csv")
    assert requests.text.removeprefix("\ufeff").startswith("requested,party,key,request_id,")


async def test_a_cursor_that_is_none_says_so(console: ConsoleOfTest) -> None:
    visitor = await console.signed_in()
    for path in ("", "/rejected", "/locations", "/tariffs"):
        assert (await visitor.get(f"/console/operators{path}?cursor=x")).status == 400, path
    assert (await visitor.get("/console/plug-and-charge?cursor=x")).status == 400
    assert (await visitor.get("/console/operators?party=%00")).status == 400
