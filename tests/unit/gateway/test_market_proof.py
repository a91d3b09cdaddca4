"""The market's proof, checkpoints, receiver and client: each must notice what is wrong."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
import standardwebhooks
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.market.checkpoints import Checkpoints
from sandbox.market.client import Client, MarketError, form
from sandbox.market.proof import BookLine, Evidence, prove
from sandbox.market.receiver import Receiver, signature_is_good
from sandbox.market.vehicles import VehicleFleet, build_fleet, emaid_of

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def book_line(currency: str, *, captured: int, vat: int, platform: int, paid: int, open_: int) -> BookLine:
    return BookLine(
        currency=currency,
        captured=captured,
        vat=vat,
        platform=platform,
        paid=paid,
        open=open_,
        fx_sold=0,
        fx_bought=0,
        difference=captured - vat - platform - paid - open_,
    )


GOOD = Evidence(
    expected={"EUR": 1000, "CHF": 500},
    captured={"EUR": 1000, "CHF": 500},
    owed={},
    captured_at_psp={"EUR": 600},
    expected_sessions=3,
    captured_sessions=3,
    captures_twice=0,
    unplanned_outcomes=(),
    books=(
        book_line("CHF", captured=500, vat=40, platform=20, paid=440, open_=0),
        book_line("EUR", captured=1000, vat=160, platform=40, paid=700, open_=100),
    ),
    findings=(),
    paid={"EUR": 700, "CHF": 440},
    forecast={"NL-ABC 2026-11-02 EUR": 700},
    paid_by_date={"NL-ABC 2026-11-02 EUR": 700},
    overdue=0,
    psp_captured={"EUR": 600, "GBP": 0},
    psp_fees={"EUR": 30},
    fees={"EUR": 30},
    psp_transferred={"EUR": 700, "CHF": 440},
    events={"superapp": (4, 4)},
    rejected_webhooks=0,
    figures={"vat": []},
)


def test_figures_that_agree_are_a_proof() -> None:
    assert prove(GOOD).ok


@pytest.mark.parametrize(
    "wrong",
    [
        {"captured": {"EUR": 1001, "CHF": 500}},
        {"owed": {"EUR": 1}},
        {"captured_sessions": 2},
        {"captures_twice": 1},
        {"psp_captured": {"EUR": 599}},
        {"psp_captured": {"EUR": 600, "GBP": 1}},
        {"psp_fees": {"EUR": 31}},
        {"psp_transferred": {"EUR": 700}},
        {"paid": {"EUR": 699, "CHF": 440}},
        {"overdue": 1},
        {"paid_by_date": {"NL-ABC 2026-11-02 EUR": 699}},
        {"paid_by_date": {"NL-ABC 2026-11-03 EUR": 700}},
        {"forecast": {}},
        {"findings": ("split ses_1: 1 left",)},
        {"unplanned_outcomes": ("S000001 declined, planned captured",)},
        {"events": {"superapp": (4, 3)}},
        {"rejected_webhooks": 1},
        {"books": (replace(GOOD.books[0], difference=1), GOOD.books[1])},
        {"books": ()},
    ],
)
def test_one_wrong_figure_breaks_the_proof(wrong: Mapping[str, object]) -> None:
    assert not prove(replace(GOOD, **wrong)).ok


def test_the_digest_is_of_the_figures_alone() -> None:
    assert prove(GOOD).digest == prove(replace(GOOD, events={"superapp": (9, 9)})).digest
    assert prove(GOOD).digest != prove(replace(GOOD, paid={"EUR": 701, "CHF": 440})).digest


def test_a_step_cut_off_by_a_kill_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    with Checkpoints(path) as checkpoints:
        checkpoints.record("first", {"id": "a"})
    path.write_bytes(path.read_bytes() + b'["second", {"id"')
    with Checkpoints(path) as checkpoints:
        assert "first" in checkpoints
        assert "second" not in checkpoints
        checkpoints.record("second", 2)
    with Checkpoints(path) as checkpoints:
        assert (checkpoints["first"], checkpoints["second"]) == ({"id": "a"}, 2)
    assert path.stat().st_mode & 0o077 == 0


async def test_a_recorded_step_is_not_repeated(tmp_path: Path) -> None:
    done = []

    async def step() -> str:
        done.append(1)
        return "result"

    with Checkpoints(tmp_path / "checkpoints.jsonl") as checkpoints:
        assert await checkpoints.once("step", step) == "result"
        assert await checkpoints.once("step", step) == "result"
    assert len(done) == 1


def signed(body: bytes, *, at: float) -> dict[str, str]:
    signature = standardwebhooks.Webhook(SECRET).sign("evt_1", datetime.fromtimestamp(at, UTC), body.decode())
    return {"webhook-id": "evt_1", "webhook-timestamp": str(int(at)), "webhook-signature": signature}


def test_a_signature_of_the_reference_library_is_good() -> None:
    now = time.time()
    headers = signed(b'{"type":"x.y"}', at=now)
    assert signature_is_good(secret=SECRET, headers=headers, body=b'{"type":"x.y"}', now_s=now)
    two = headers | {"webhook-signature": "v1,AAAA " + headers["webhook-signature"]}
    assert signature_is_good(secret=SECRET, headers=two, body=b'{"type":"x.y"}', now_s=now)


@pytest.mark.parametrize("change", ["body", "id", "late", "early", "signature", "stamp"])
def test_a_changed_or_stale_webhook_is_rejected(change: str) -> None:
    now, body = time.time(), b'{"type":"x.y"}'
    headers = signed(body, at=now)
    match change:
        case "body":
            body = b'{"type":"x.z"}'
        case "id":
            headers["webhook-id"] = "evt_2"
        case "late":
            now += 301
        case "early":
            now -= 301
        case "signature":
            headers["webhook-signature"] = ""
        case _:
            headers["webhook-timestamp"] = "soon"
    assert not signature_is_good(secret=SECRET, headers=headers, body=body, now_s=now)


async def test_a_delivery_repeated_counts_once(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "webhooks.jsonl")
    receiver.accept_signed_with("superapp", SECRET)
    await receiver.start(port=0)
    body = b'{"type":"capture.succeeded"}'
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            headers = signed(body, at=time.time())
            async with http.post(receiver.webhook_url("superapp"), data=body, headers=headers) as answer:
                assert answer.status == 204
        async with http.post(receiver.webhook_url("stranger"), data=body, headers=headers) as answer:
            assert answer.status == 401
    assert receiver.has_received("evt_1")
    assert (receiver.repeated, receiver.rejected) == (1, 1)
    await receiver.stop()


class Moody:
    """A server that fails in each passing way before it answers; it remembers the keys it saw."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.answers = [
            web.json_response({"type": "/problems/internal"}, status=500),
            web.json_response({"type": "/problems/idempotency_in_flight"}, status=409),
            web.json_response({}, status=429),
            web.json_response({"id": "a"}, status=201),
        ]

    async def handle(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers["Idempotency-Key"])
        return self.answers[len(self.keys) - 1]


async def test_a_passing_failure_is_retried_with_the_same_key() -> None:
    moody = Moody()
    app = web.Application()
    app.router.add_post("/things", moody.handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        client = Client(http=http, base_url=str(server.make_url("/")), authorization="Bearer x")
        answer = await client.post("/things", {}, key="k1")
    assert answer.body == {"id": "a"}
    assert moody.keys == ["k1"] * 4


async def test_a_rejection_is_not_retried() -> None:
    async def reject(request: web.Request) -> web.Response:
        return web.json_response({"type": "/problems/state_conflict", "detail": "no"}, status=409)

    app = web.Application()
    app.router.add_post("/things", reject)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        client = Client(http=http, base_url=str(server.make_url("/")), authorization="Bearer x")
        with pytest.raises(MarketError, match="answered 409"):
            await client.post("/things", {}, key="k1")
        assert (await client.post("/things", {}, key="k1", accept=(409,))).status == 409


async def test_patience_ends_with_a_dead_server() -> None:
    async with aiohttp.ClientSession() as http:
        client = Client(http=http, base_url="http://127.0.0.1:9", authorization="Bearer x", timeout_s=0.2)
        with pytest.raises(MarketError, match="no answer within"):
            await client.get("/things")


def test_a_form_nests_in_brackets() -> None:
    assert form({"a": {"b": True, "c": {"d": 1}}}) == b"a%5Bb%5D=true&a%5Bc%5D%5Bd%5D=1"


def test_a_garage_survives_the_checkpoints() -> None:
    fleet = build_fleet(vehicles=2, revoked=frozenset({1}), status_url="http://127.0.0.1:1")
    assert VehicleFleet.from_json(fleet.to_json()) == fleet
    assert [vehicle.emaid for vehicle in fleet.vehicles] == [emaid_of(1), emaid_of(2)]
