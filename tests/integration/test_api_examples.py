"""The documentation's examples: the same requests, played again, are answered in the same shape.

`RECORD_EXAMPLES=1` writes gateway/api/examples.json from what was played.
"""

import json
import os
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.api import examples
from gateway.database import Pool
from tests.fakes.api import EVSE, Api, open_api

STORED = Path(examples.__file__).with_name("examples.json")
Recorded = dict[str, dict[str, Any]]


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        opened.clock.wall = datetime.now(UTC) + timedelta(seconds=3)  # events are listed a second later
        yield opened


class Recorder:
    """Plays operations and keeps what was sent and answered."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.recorded: Recorded = {}

    async def play(
        self, operation: str, method: str, path: str, body: Any = None, *, party: str = "parking"
    ) -> Any:
        answer = await self._api.call(method, path, body, key=f"example-{operation}", party=party)
        assert answer.status < 300, answer.text
        request = {} if body is None else {"request": body}
        shown = answer.json
        self.recorded[operation] = {**request, str(answer.status): {**shown, **_masked(shown)}}
        return shown


def _masked(shown: Mapping[str, Any]) -> dict[str, str]:
    """Secrets keep their beginning only: an example must not look like one that leaked."""
    return {name: f"{shown[name][:6]}{'x' * 12}" for name in ("secret", "api_key") if shown.get(name)}


async def play(api: Api) -> Recorded:
    """A partner's day: from the quote to the refund, and how it receives events."""
    recorder = Recorder(api)
    run = recorder.play
    expected = {"energy_wh": 40_000, "duration_s": 3600}
    await run(
        "createWebhookEndpoint",
        "POST",
        "/v1/webhook-endpoints",
        {"url": "https://partner.example/hooks/networkcore", "events": ["capture.succeeded"]},
    )
    await run("createQuote", "POST", "/v1/quotes", {"evse_id": EVSE, "estimate": expected})
    authorization = await run(
        "createAuthorization",
        "POST",
        "/v1/authorizations",
        {
            "evse_id": EVSE,
            "method": "card",
            "payment": {"type": "psp_payment_method", "payment_method": "pm_card_visa"},
            "session_ref": "order-4711",
            "estimate": expected,
            "metadata": {"order": "4711"},
        },
    )
    await run("getAuthorization", "GET", f"/v1/authorizations/{authorization['id']}")
    session = authorization["session"]
    usage = {"started_at": "2026-10-29T08:02:00Z", "ended_at": "2026-10-29T08:50:00Z", "energy_wh": 20_000}
    await run("completeSession", "POST", f"/v1/sessions/{session}/complete", {"usage": usage})
    await run("getSession", "GET", f"/v1/sessions/{session}")
    await run("getSessionPrice", "GET", f"/v1/sessions/{session}/price")
    await run("listSessions", "GET", "/v1/sessions")
    await run("listCaptures", "GET", "/v1/captures")
    await run(
        "createRefund", "POST", "/v1/refunds", {"session": session, "amount": 190, "metadata": {"case": "12"}}
    )
    await run("listEvents", "GET", "/v1/events?type=capture.succeeded")
    await run(
        "createParty",
        "POST",
        "/v1/parties",
        {
            "id": "NL-ABC",
            "kind": "cpo",
            "name": "ABC Charging B.V.",
            "country": "NL",
            "vat_id": "NL004495445B01",
            "settlement_currency": "EUR",
            "time_zone": "Europe/Amsterdam",
        },
        party="admin",
    )
    scopes = {"scopes": ["capture", "webhooks"]}
    await run("createApiKey", "POST", "/v1/parties/NL-ABC/api-keys", scopes, party="admin")
    return recorder.recorded


def shape(value: Any) -> Any:
    """Names and kinds of values, without the values."""
    if isinstance(value, Mapping):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


async def test_the_stored_examples_are_what_the_api_answers(api: Api) -> None:
    played = await play(api)
    if os.environ.get("RECORD_EXAMPLES"):
        STORED.write_text(json.dumps(played, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert list(stored) == list(played), "record the examples anew with RECORD_EXAMPLES=1"
    for operation, parts in played.items():
        assert stored[operation].get("request") == parts.get("request") or "session" in parts["request"]
        assert shape(stored[operation]) == shape(parts), f"record {operation} anew with RECORD_EXAMPLES=1"
