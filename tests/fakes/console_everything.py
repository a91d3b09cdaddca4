"""A console whose lists and pages all show something: for tests that look at every page."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from gateway.api.server import REQUEST_LOG
from gateway.database import Pool
from gateway.ids import new_id, parse_id, shard_of
from sandbox.pki.hierarchy import Suite, build_pki, cross_sign, revocation_list
from tests.fakes.api import START
from tests.fakes.console import ConsoleOfTest, HostileTariff, open_console, paid_session
from tests.fakes.console_operators import OPERATOR, add_decision, add_operator, add_traffic
from tests.fakes.console_webhooks import add_attempts
from tests.fakes.pnc_authorize import ROOT
from tests.fakes.pnc_market import EMAID
from tests.integration.test_payments import news
from tests.unit.clearing.meter_builders import public_der

BANK_DETAILS = {
    "name": "Hafen GmbH",
    "iban": "DE89370400440532013000",
    "bic": None,
    "reference": None,
    "address": {
        "street": "Werft",
        "building": "1",
        "post_code": "1000",
        "town": "Hafen",
        "country": "DE",
    },
}


@asynccontextmanager
async def console_with_everything(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    """Money, an operator, trust, people and work that stopped; reconciliation agrees."""
    async with open_console(pool, tariffs=HostileTariff()) as console:
        session = await paid_session(console.api)
        await _money(console, session)
        await add_traffic(pool, await add_operator(pool))
        await add_decision(pool)
        await _trust(console)
        await _people(console)
        await add_attempts(pool)
        await stop_task(pool, session)
        console.api.clock.pass_wall(5)
        assert console.api.client.app is not None
        await console.api.client.app[REQUEST_LOG].store()
        yield console


async def _post(console: ConsoleOfTest, path: str, body: dict[str, Any], party: str = "admin") -> Any:
    made = await console.api.call("POST", path, body, party=party, key=str(new_id()))
    assert made.status in {200, 201}, made.text
    return made.json


async def _money(console: ConsoleOfTest, session: str) -> None:
    """A refund, a dispute, a declined payment, a running session, new bank details and a hold."""
    payment = {"type": "psp_payment_method", "payment_method": "pm_declined"}
    assert (await console.api.authorize(key="declined", payment=payment)).status == 402
    assert (await console.api.authorize(key="running")).status == 201
    await _post(console, "/v1/refunds", {"session": session, "amount": 150, "reason": "duplicate"})
    session_id = parse_id("ses", session)
    await console.api.services.payments.disputes.record_update(  # type: ignore[attr-defined]
        news("opened"), shard=shard_of(session_id), session_id=session_id
    )
    await console.api.services.pool.execute(
        "INSERT INTO clearing.pending_driver_document (shard, session_id, kind, supplier_id, reason, "
        "first_at, last_at) VALUES ($1, $2, 'capture', 'DE-ABC', 'lacks the address of the seller', $3, $3)",
        shard_of(session_id),
        session_id,
        START,
    )
    await _post(console, "/v1/parties/DE-ABC/bank-details", BANK_DETAILS)
    await _post(console, "/v1/parties/DE-ABC/payout-holds", {"reason": "court order 12/26"})
    key = {"meter_serial": "M-1", "public_key": public_der().hex()}
    await _post(console, f"/v1/parties/{OPERATOR}/meter-keys", key)


async def _trust(console: ConsoleOfTest) -> None:
    """A contract with its certificate, its root, an authority, a cross certificate and a CRL."""
    pki = build_pki(suite=Suite.P256, now=START, name="A Mobility Operator")
    other = build_pki(suite=Suite.P256, now=START, name="Another Operator")
    root = {
        "environment": "sandbox",
        "kind": "mo_root",
        "pem": pki.root.pem,
        "policy": "soft",
        "policy_reason": "its responder is being built",
        "revocation_sources": [],
    }
    added = await _post(console, f"{ROOT}/trust-anchors", root)
    authorities = f"{ROOT}/trust-anchors/{added['sha256']}/contract-authorities"
    await _post(console, authorities, {"pem": pki.second.pem, "reason": "as agreed"})
    bridge = cross_sign(other.root, by=pki.root, now=START)
    await _post(console, f"{ROOT}/cross-certificates", {"pem": bridge.pem, "reason": "bridge"})
    crl = revocation_list(pki.second, now=console.api.clock.now() - timedelta(hours=1), serials=[4711])
    await _post(
        console,
        f"{ROOT}/revocation-lists",
        {"authority": pki.second.pem, "crl": b64encode(crl).decode(), "reason": "responder away"},
    )
    contract = {
        "emaid": EMAID,
        "party": "superapp",
        "payment": {"type": "psp_payment_method", "payment_method": "pm_card_visa"},
        "valid_from": "2026-10-01T00:00:00Z",
        "certificate_chain": pki.bundle(pki.issue(EMAID)),
    }
    await _post(console, "/v1/plug-and-charge/contracts", contract)


async def _people(console: ConsoleOfTest) -> None:
    """Somebody of a party, and a view that is saved."""
    chief = await console.signed_in(party="parking", role="administrator", name="Ben Ode")
    saved = await chief.post(
        "/console/saved-views", {"list": "sessions", "filters": "state=cleared", "name": "Paid"}
    )
    assert saved.headers["Location"].endswith("notice=done")


async def stop_task(pool: Pool, session: str) -> None:
    """A task that gave up: an exception about a session."""
    session_id = parse_id("ses", session)
    shard = shard_of(session_id)
    await pool.execute(
        "INSERT INTO gateway.task (shard, id, kind, session_id, run_at, exception_at, last_error, attempts) "
        "VALUES ($1, $2, 'capture_session', $3, now(), now(), $4, 30)",
        shard,
        new_id(shard=shard),
        session_id,
        json.dumps({"session": session}),
    )
