"""The state file survives kill -9; a seed repeats a run byte for byte; the command serves and stops."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stripe

from sandbox.stripe.access import PspRequest
from sandbox.stripe.engine import PspEngine, PspReply
from sandbox.stripe.settings import PspSettings, SettingsError
from tests.integration.sandbox_psp_client import KEY, START, process, sandbox

HOLD = (
    "amount=5000&currency=eur&capture_method=manual&payment_method=pm_card_visa&confirm=true"
    "&return_url=https://app.test/back"
)


async def test_a_capture_that_was_answered_survives_kill_nine(tmp_path: Path) -> None:
    state = str(tmp_path / "psp.sqlite")
    async with aiohttp.ClientSession() as http:

        def client(url: str) -> Any:
            transport = stripe.AIOHTTPClient(session=http)
            return stripe.StripeClient(
                KEY, http_client=transport, base_addresses={"api": url}, max_network_retries=0
            ).v1

        with process("--state", state) as (url, child):
            v1 = client(url)
            held = await v1.payment_intents.create_async(
                {
                    "amount": 5000,
                    "currency": "eur",
                    "capture_method": "manual",
                    "confirm": True,
                    "return_url": "https://app.test/back",
                    "payment_method": "pm_card_visa",
                    "metadata": {"session": "s1"},
                }
            )
            done = await v1.payment_intents.capture_async(held.id, options={"idempotency_key": "c1"})
            balance = await v1.balance.retrieve_async()
            child.send_signal(signal.SIGKILL)
            child.wait()
        with process("--state", state) as (url, child):
            v1 = client(url)
            again = await v1.payment_intents.capture_async(held.id, options={"idempotency_key": "c1"})
            assert again.last_response.headers["Idempotent-Replayed"] == "true"
            assert again.to_dict() == done.to_dict()
            assert (await v1.balance.retrieve_async()).to_dict() == balance.to_dict()
            found = await v1.payment_intents.search_async({"query": "metadata['session']:'s1'"})
            assert [row.status for row in found.data] == ["succeeded"]
            child.send_signal(signal.SIGTERM)
            assert child.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--webhook-url", "http://x.test/"], "webhook_secret"),
        (["--state", "/nowhere/psp.sqlite"], "state_path"),
        (["--api-key", "sk_live_x"], "api_keys"),
    ],
)
def test_the_command_rejects_what_cannot_work(arguments: list[str], named: str) -> None:
    code = "from gateway.cli.sandbox_psp import sandbox_psp; sandbox_psp()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_keys": ()},
        {"api_keys": ("sk_live_x",)},
        {"webhook_url": "ftp://x", "webhook_secret": "s"},
        {"fee_basis_points": -1},
        {"overcapture_percent": 101},
    ],
)
def test_settings_name_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        PspSettings(**wrong)


def ask(engine: PspEngine, method: str, path: str, body: str = "", key: str | None = None) -> PspReply:
    headers = {"authorization": f"Bearer {KEY}"} | ({"idempotency-key": key} if key else {})
    return engine.handle(PspRequest(method=method, path=path, headers=headers, body=body.encode()))


def played(settings: PspSettings, moves: int) -> tuple[list[bytes], PspEngine]:
    """A day of random moves without a server: every answer and every webhook."""
    engine = PspEngine(settings)
    rng = random.Random(5)
    intents: list[str] = []
    seen: list[bytes] = []
    for number in range(moves):
        match rng.choice(("hold", "capture", "cancel", "refund", "clock", "topup")):
            case "hold":
                reply = ask(engine, "POST", "/v1/payment_intents", HOLD, f"k{number}")
                intents.append(json.loads(reply.body)["id"])
            case "clock":
                now = engine.state.now + rng.randrange(86_400)
                reply = ask(engine, "POST", "/_sandbox/clock", f"now={now}&frozen=true")
            case "topup":
                reply = ask(engine, "POST", "/v1/topups", f"amount={rng.randrange(1, 999)}&currency=chf")
            case "refund":
                chosen = rng.choice(intents or ["pi_none"])
                amount = rng.randrange(1, 2000)
                reply = ask(engine, "POST", "/v1/refunds", f"payment_intent={chosen}&amount={amount}")
            case verb:
                chosen = rng.choice(intents or ["pi_none"])
                reply = ask(engine, "POST", f"/v1/payment_intents/{chosen}/{verb}", "", f"k{number}")
        seen.append(reply.body)
        seen += [webhook.body for webhook in engine.pop_webhooks()]
    return seen, engine


def seeded(**more: Any) -> PspSettings:
    hook = {"webhook_url": "http://receiver.test/", "webhook_secret": "whsec_x"}
    return PspSettings(seed=9, start_at=START, pull_webhooks=True, **hook, **more)


def test_a_seed_repeats_a_run_byte_for_byte() -> None:
    first, _ = played(seeded(), 300)
    second, _ = played(seeded(), 300)
    assert first == second
    assert len(first) > 600


def test_a_small_cache_changes_no_answer_and_the_file_holds_everything(tmp_path: Path) -> None:
    state = tmp_path / "psp.sqlite"
    large, _ = played(seeded(), 300)
    small, engine = played(seeded(state_path=state, cache_records=5), 300)
    assert small == large
    before = [ask(engine, "GET", path).body for path in ("/_sandbox/summary", "/v1/balance", "/v1/events")]
    engine.close()
    again = PspEngine(seeded(state_path=state))
    after = [ask(again, "GET", path).body for path in ("/_sandbox/summary", "/v1/balance", "/v1/events")]
    assert before == after
    again.close()


def test_balance_is_the_sum_of_its_transactions_and_no_charge_gives_back_more_than_it_took() -> None:
    _, engine = played(seeded(), 500)
    engine.state.clock.set_to(engine.state.now + 30 * 86_400, frozen=True)
    rows = list(engine.state.records.scan("balance_transaction", "acct_platform"))
    for currency, (available, pending) in engine.state.ledger.currencies(
        "acct_platform", engine.state.now
    ).items():
        assert (available, pending) == (sum(row["net"] for row in rows if row["currency"] == currency), 0)
    for charge in engine.state.records.scan("charge", "acct_platform"):
        captured = sum(row["amount"] for row in rows if row["source"] == charge["id"])
        refunds = engine.state.records.scan("refund", "acct_platform", field="charge", values=(charge["id"],))
        given = sum(refund["amount"] for refund in refunds)
        assert captured == charge["amount_captured"]
        assert given <= captured
        assert charge["amount_refunded"] == given + charge.get("_released", 0)


def test_a_rejected_request_leaves_no_trace() -> None:
    engine = PspEngine(seeded())
    ask(engine, "POST", "/v1/payment_intents", HOLD + "&expand[]=nonsense")
    ask(engine, "POST", "/v1/transfers", "amount=1&currency=eur&destination=acct_none")
    for kind in (
        "payment_intent",
        "payment_method",
        "charge",
        "event",
        "balance_transaction",
        "timer",
        "transfer",
    ):
        assert list(engine.state.records.scan(kind, "acct_platform")) == []
    assert engine.pop_webhooks() == []


async def test_webhooks_that_were_not_acknowledged_are_sent_again_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "psp.sqlite"
    engine = PspEngine(seeded(state_path=state))
    ask(engine, "POST", "/v1/topups", "amount=1&currency=eur")
    engine.close()  # nothing was pulled
    again = PspEngine(seeded(state_path=state))
    assert len(again.pop_webhooks()) == 2
    again.close()
    third = PspEngine(seeded(state_path=state))
    assert third.pop_webhooks() == []
    third.close()
    without = PspEngine(PspSettings(state_path=state, pull_webhooks=True))
    ask(without, "POST", "/v1/topups", "amount=1&currency=eur")
    assert without.pop_webhooks() == []
    without.close()


@pytest.mark.parametrize("frozen", [True, False])
def test_a_clock_that_was_set_is_kept_over_a_restart(tmp_path: Path, *, frozen: bool) -> None:
    settings = PspSettings(state_path=tmp_path / "psp.sqlite")
    engine = PspEngine(settings)
    ask(engine, "POST", "/_sandbox/clock", f"now={START}&frozen={str(frozen).lower()}")
    engine.close()
    again = PspEngine(settings)
    assert again.state.clock.frozen is frozen
    assert START <= again.state.now <= START + 60
    again.close()


async def test_the_clock_may_run_stop_or_follow_the_wall() -> None:
    async with sandbox(PspSettings()) as psp:
        assert (await psp.control("POST", "clock", {"now": START, "frozen": True})) == {
            "now": START,
            "frozen": True,
        }
        held = await psp.hold()
        assert held.created == START
        running = await psp.control("POST", "clock", {"now": START, "frozen": False})
        assert running["frozen"] is False
        assert (await psp.control("DELETE", "clock"))["now"] > START
