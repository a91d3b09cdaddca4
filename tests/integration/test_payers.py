"""How a driver's app obtains a payment method, and whose it is."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.database import Pool
from gateway.payments.psp.payer_port import SetupState
from gateway.payments.psp.port import PspEvent
from tests.fakes.api import Answer, Api, authorization_body, cdr, open_api
from tests.fakes.psp import FakePsp

RETURN_URL = "https://app.example/return"


class Reporting(FakePsp):
    """Its events name the setup or the method that their body is."""

    def read_event(self, *, body: bytes, signature: str) -> PspEvent:
        return self.parse_event(body)

    def parse_event(self, body: bytes) -> PspEvent:
        subject = body.decode()
        return PspEvent(
            id=f"evt_{subject}",
            psp_type="x",
            psp_payment=None,
            session_id=None,
            psp_setup=subject if subject.startswith("seti_") else None,
            detached_method=subject if subject.startswith("pm_") else None,
            revoked_mandate=subject if subject.startswith("mandate_") else None,
        )


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def customer(api: Api, *, party: str = "parking", key: str = "c", **body: Any) -> str:
    made = await api.call("POST", "/v1/customers", body, party=party, key=key)
    assert made.status == 201, made.text
    assert made.headers["Location"] == f"/v1/customers/{made.json['id']}"
    return str(made.json["id"])


async def setup(api: Api, of: str, *, party: str = "parking", key: str = "s", **body: Any) -> Answer:
    return await api.call(
        "POST", f"/v1/customers/{of}/setups", {"return_url": RETURN_URL} | body, party=party, key=key
    )


async def saved(api: Api, *, party: str = "parking", key: str = "x") -> tuple[str, str]:
    """A customer with a saved payment method."""
    of = await customer(api, party=party, key=f"c{key}")
    opened = (await setup(api, of, party=party, key=f"s{key}")).json
    api.psp.payers.finish(opened["client_secret"].partition("_secret")[0])
    done = (await api.call("GET", f"/v1/setups/{opened['id']}", party=party)).json
    assert done["state"] == "succeeded", done
    return of, str(done["payment_method"])


async def pays(api: Api, method: str, of: str | None, *, party: str, key: str, **changes: Any) -> Answer:
    payment = {"type": "psp_payment_method", "payment_method": method, "customer": of}
    return await api.authorize(key=key, party=party, payment=payment, **changes)


async def test_an_app_gets_what_the_psps_form_needs(api: Api) -> None:
    shown = (await api.call("GET", "/v1/client-configuration")).json
    assert shown["publishable_key"] == "pk_test_fake"
    assert shown["script_url"].startswith("https://psp.example/")
    api.psp.payers.publishable_key = None  # type: ignore[assignment]
    missing = await api.call("GET", "/v1/client-configuration")
    assert (missing.status, missing.json["code"]) == (503, "unavailable")


async def test_a_customer_is_created_once_and_found_by_its_reference(api: Api) -> None:
    first = await customer(api, reference="driver-1", metadata={"plan": "gold"})
    again = await customer(api, reference="driver-1", metadata={"plan": "gold"})
    other = await customer(api, key="c2", reference="driver-2")
    assert first == again != other
    assert [one.party_id for one in api.psp.payers.customers.values()] == ["parking", "parking"]
    listed = (await api.call("GET", "/v1/customers?limit=1")).json
    assert ([one["id"] for one in listed["data"]], listed["has_more"]) == ([other], True)
    rest = (await api.call("GET", f"/v1/customers?cursor={listed['next_cursor']}")).json
    assert [one["id"] for one in rest["data"]] == [first]
    found = (await api.call("GET", "/v1/customers?reference=driver-1")).json
    assert [one["metadata"] for one in found["data"]] == [{"plan": "gold"}]


async def test_a_customer_whose_psp_is_silent_is_created_by_the_same_request_again(api: Api) -> None:
    api.psp.payers.silent = True
    failed = await api.call("POST", "/v1/customers", {}, key="c")
    assert (failed.status, failed.json["code"]) == (503, "unavailable")
    assert (await api.call("GET", "/v1/customers")).json["data"] == []
    api.psp.payers.silent = False
    made = await customer(api)
    assert [one["id"] for one in (await api.call("GET", "/v1/customers")).json["data"]] == [made]


async def test_a_setup_leads_to_a_payment_method_that_pays_later(api: Api) -> None:
    of = await customer(api)
    opened = await setup(api, of)
    assert opened.status == 201, opened.text
    assert opened.headers["Cache-Control"] == "no-store"
    shown = opened.json
    assert shown["state"] == "requires_payment_method"
    assert shown["publishable_key"] == "pk_test_fake"
    assert shown["return_url"] == RETURN_URL
    psp_setup = shown["client_secret"].partition("_secret")[0]

    api.psp.payers.setups[psp_setup] = replace(
        api.psp.payers.setups[psp_setup],
        state=SetupState.REQUIRES_ACTION,
        redirect_url="https://psp.example/3ds",
    )
    acting = (await api.call("GET", f"/v1/setups/{shown['id']}")).json
    assert (acting["state"], acting["redirect_url"]) == ("requires_action", "https://psp.example/3ds")

    api.psp.payers.finish(psp_setup)
    done = (await api.call("GET", f"/v1/setups/{shown['id']}")).json
    assert done["state"] == "succeeded"
    assert done["mandate"]
    assert (done["client_secret"], done["redirect_url"], done["publishable_key"]) == (None, None, None)

    methods = (await api.call("GET", f"/v1/customers/{of}/payment-methods")).json["data"]
    assert [(one["id"], one["brand"], one["last4"]) for one in methods] == [
        (done["payment_method"], "visa", "4242")
    ]
    assert (await api.call("GET", f"/v1/payment-methods/{done['payment_method']}")).json == methods[0]
    paid = await pays(api, done["payment_method"], of, party="parking", key="p")
    assert paid.status == 201, paid.text


async def test_a_repeat_of_a_setup_is_the_same_setup_with_its_secret(api: Api) -> None:
    of = await customer(api)
    first, again = await setup(api, of), await setup(api, of)
    assert first.json == again.json
    assert first.json["client_secret"]
    assert len(api.psp.payers.setups) == 1


async def test_a_failed_try_is_an_event_and_the_driver_may_try_again(api: Api) -> None:
    of = await customer(api)
    opened = (await setup(api, of)).json
    psp_setup = opened["client_secret"].partition("_secret")[0]
    for attempt in ("setatt_a", "setatt_a", "setatt_b"):
        api.psp.payers.finish(
            psp_setup,
            state=SetupState.REQUIRES_PAYMENT_METHOD,
            psp_method=None,
            mandate=None,
            attempt=attempt,
            error="insufficient_funds",
        )
        shown = (await api.call("GET", f"/v1/setups/{opened['id']}")).json
        assert (shown["state"], shown["error"]) == ("requires_payment_method", "insufficient_funds")
        assert shown["client_secret"]
    api.psp.payers.finish(psp_setup, error=None)
    assert (await api.call("GET", f"/v1/setups/{opened['id']}")).json["error"] is None
    types = await api.services.pool.fetch("SELECT type, data FROM gateway.event ORDER BY id")
    assert [one["type"] for one in types] == ["setup.failed", "setup.failed", "setup.succeeded"]
    assert all(one["data"]["client_secret"] is None for one in types)


async def test_a_cancelled_setup_has_ended(api: Api) -> None:
    of = await customer(api)
    opened = (await setup(api, of)).json
    path = f"/v1/setups/{opened['id']}/cancel"
    ended = await api.call("POST", path, {}, key="e")
    assert (ended.status, ended.json["state"], ended.json["client_secret"]) == (200, "cancelled", None)
    finished = (await setup(api, of, key="s2")).json
    api.psp.payers.finish(finished["client_secret"].partition("_secret")[0])
    late = await api.call("POST", f"/v1/setups/{finished['id']}/cancel", {}, key="e2")
    assert (late.status, late.json["code"]) == (409, "state_conflict")
    assert (await api.call("GET", f"/v1/setups/{finished['id']}")).json["state"] == "succeeded"


async def shard_of_task(pool: Pool, event: str) -> int:
    """The shard of an event of the PSP, in which its task lies."""
    of_task = "SELECT shard FROM gateway.task WHERE payload ->> 'event' = $1"
    shard: int = await pool.fetchval(of_task, event)
    assert await pool.fetchval("SELECT shard FROM gateway.psp_event WHERE id = $1", event) == shard
    return shard


async def test_the_psps_event_records_a_setup_and_a_removed_method(pool: Pool) -> None:
    async with open_api(pool, psp=Reporting()) as api:
        of = await customer(api)
        opened = (await setup(api, of)).json
        psp_setup = opened["client_secret"].partition("_secret")[0]
        api.psp.payers.finish(psp_setup)
        payments = api.services.payments

        async def handle(event: str) -> None:
            shard = await shard_of_task(pool, event)
            assert await payments.psp_events.handle_event(event, shard=shard) is None

        await payments.receive_psp_webhook(body=b"seti_unknown", signature="")
        await payments.receive_psp_webhook(body=psp_setup.encode(), signature="")
        events = await pool.fetch("SELECT payload FROM gateway.task WHERE kind = 'handle_psp_event'")
        assert [one["payload"]["event"] for one in events] == [f"evt_{psp_setup}"]
        assert (
            await payments.psp_events.handle_event(
                f"evt_{psp_setup}", shard=await shard_of_task(pool, f"evt_{psp_setup}")
            )
            is None
        )
        (event,) = await pool.fetch("SELECT type, data FROM gateway.event")
        assert event["type"] == "setup.succeeded"
        method, mandate = event["data"]["payment_method"], event["data"]["mandate"]
        await payments.receive_psp_webhook(body=mandate.encode(), signature="")
        assert (
            await payments.psp_events.handle_event(
                f"evt_{mandate}", shard=await shard_of_task(pool, f"evt_{mandate}")
            )
            is None
        )
        assert (await api.call("GET", f"/v1/payment-methods/{method}")).json["mandate"] is None
        await payments.receive_psp_webhook(body=method.encode(), signature="")
        assert (
            await payments.psp_events.handle_event(
                f"evt_{method}", shard=await shard_of_task(pool, f"evt_{method}")
            )
            is None
        )
        assert (await api.call("GET", f"/v1/payment-methods/{method}")).status == 404


async def test_two_reads_at_once_record_a_setup_once(api: Api) -> None:
    of = await customer(api)
    opened = (await setup(api, of)).json
    payers = api.services.payments.payers
    async with api.services.pool.acquire() as connection:
        found = await connection.fetchrow("SELECT psp_setup FROM gateway.payment_method_setup")
    assert found is not None
    api.psp.payers.finish(found["psp_setup"])
    view = await payers.get_setup(party_id="parking", setup_id=(await _setup_id(api)))
    assert view.setup.state is SetupState.SUCCEEDED
    stale = replace(view.setup, state=SetupState.REQUIRES_PAYMENT_METHOD, version=1)
    again = await payers._record(stale, api.psp.payers.setups[found["psp_setup"]])
    assert again.setup == view.setup
    assert await api.services.pool.fetchval("SELECT count(*) FROM gateway.event") == 1
    assert opened["id"]


async def _setup_id(api: Api) -> Any:
    return await api.services.pool.fetchval("SELECT id FROM gateway.payment_method_setup")


async def test_another_partys_payer_is_not_found_and_never_charged(api: Api) -> None:
    of, method = await saved(api)
    opened = (await setup(api, of, key="open")).json
    for verb, path in (
        ("GET", f"/v1/customers/{of}"),
        ("GET", f"/v1/customers/{of}/payment-methods"),
        ("GET", f"/v1/payment-methods/{method}"),
        ("DELETE", f"/v1/payment-methods/{method}"),
        ("GET", f"/v1/setups/{opened['id']}"),
        ("POST", f"/v1/setups/{opened['id']}/cancel"),
    ):
        foreign = await api.call(verb, path, party="superapp")
        assert (foreign.status, foreign.json["code"]) == (404, "not_found"), path
    assert (await setup(api, of, party="superapp", key="f")).status == 404
    for number, (customer_id, token) in enumerate(
        ((of, method), (None, method), (of, "pm_of_its_own"), (of, "pm_card_visa"))
    ):
        stolen = await pays(api, token, customer_id, party="superapp", key=f"steal-{number}")
        assert (stolen.status, stolen.json["code"]) == (404, "not_found"), stolen.text
    assert api.psp.calls == []
    assert await api.services.pool.fetchval("SELECT count(*) FROM gateway.session") == 0
    assert (await pays(api, method, of, party="parking", key="own")).status == 201
    everyone = (await api.call("GET", f"/v1/customers/{of}", party="admin")).json
    assert everyone["id"] == of


async def test_a_contract_or_token_of_another_partys_payer_is_not_stored(api: Api) -> None:
    of, method = await saved(api)
    payment = {"type": "psp_payment_method", "payment_method": method, "customer": of}
    token = {"party": "superapp", "contract_id": "C1", "issuer": "Super App", "payment": payment}
    foreign = await api.call("PUT", "/v1/ocpi/tokens/APP_USER/u1", token, party="admin")
    assert (foreign.status, foreign.json["code"]) == (404, "not_found")
    own = await api.call("PUT", "/v1/ocpi/tokens/APP_USER/u1", token | {"party": "parking"}, party="admin")
    assert own.status in {200, 201}, own.text


async def test_a_customer_made_at_the_psp_belongs_to_its_first_user(api: Api) -> None:
    first = await pays(api, "pm_good", "cus_imported", party="superapp", key="a", session_ref="s1")
    assert first.status == 201, first.text
    second = await pays(api, "pm_good", "cus_imported", party="parking", key="b", session_ref="s2")
    assert (second.status, second.json["code"]) == (404, "not_found")
    assert (
        await pays(api, "pm_good", "cus_imported", party="superapp", key="c", session_ref="s3")
    ).status == 201


async def test_of_two_parties_at_once_one_gets_an_unknown_customer(api: Api) -> None:
    answers = await asyncio.gather(
        *(
            pays(
                api, "pm_good", "cus_imported", party=party, key=f"k{number}", session_ref=f"{party}-{number}"
            )
            for number in range(4)
            for party in ("parking", "superapp")
        )
    )
    assert sorted(answer.status for answer in answers) == [201] * 4 + [404] * 4
    assert len({one.request.metadata["party"] for one in api.psp.payments.values()}) == 1


async def test_a_removed_method_is_charged_no_more(api: Api) -> None:
    of, method = await saved(api)
    api.psp.payers.silent = True
    assert (await api.call("DELETE", f"/v1/payment-methods/{method}")).status == 503
    refused = await pays(api, method, of, party="parking", key="p")
    assert (refused.status, refused.json["code"]) == (404, "not_found")
    api.psp.payers.silent = False
    for _ in range(2):
        assert (await api.call("DELETE", f"/v1/payment-methods/{method}")).status == 204
    assert api.psp.payers.detached == [method]
    assert (await api.call("GET", f"/v1/customers/{of}/payment-methods")).json["data"] == []
    assert (await api.call("GET", f"/v1/payment-methods/{method}")).status == 404


async def test_a_request_that_was_carried_out_is_answered_after_the_method_was_removed(api: Api) -> None:
    of, method = await saved(api)
    made = await pays(api, method, of, party="parking", key="p")
    assert (await api.call("DELETE", f"/v1/payment-methods/{method}")).status == 204
    assert (await pays(api, method, of, party="parking", key="p")).json == made.json
    path, record = f"/v1/sessions/{made.json['session']}/complete", {"cdr": json.loads(cdr())}
    ended = await api.call("POST", path, record, key="end")
    assert ended.json["capture"]["state"] == "succeeded"  # what it had secured is captured all the same


@pytest.mark.parametrize(
    "address",
    [
        "javascript://x",
        "data://x",
        "http://app.example/x",
        "app",
        "https://",
        "file:///etc",
        "//app.example",
        "",
    ],
)
async def test_a_return_url_is_https_or_an_app(api: Api, address: str) -> None:
    of = await customer(api)
    refused = await setup(api, of, return_url=address)
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (400, "/return_url")
    payment = {"type": "psp_payment_method", "payment_method": "pm_good", "return_url": address}
    assert (await api.authorize(key="a", payment=payment)).status == 400


@pytest.mark.parametrize(
    "address", ["superapp://return", "https://app.example/a?b=c", "http://localhost:3000/x"]
)
async def test_an_app_names_where_its_driver_returns_to(api: Api, address: str) -> None:
    of = await customer(api)
    assert (await setup(api, of, return_url=address)).json["return_url"] == address


@pytest.mark.parametrize("token", ["tok_visa", "cus_1", "4242", "pm-1", "pm_", " pm_1"])
async def test_a_token_field_takes_the_psps_tokens_only(api: Api, token: str) -> None:
    payment = {"type": "psp_payment_method", "payment_method": token}
    refused = await api.authorize(key="a", payment=payment)
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (400, "/payment/payment_method")
    body = authorization_body(
        payment={"type": "psp_payment_method", "payment_method": "pm_1", "customer": token}
    )
    if token != "cus_1":
        assert (await api.call("POST", "/v1/authorizations", body, key="b")).status == 400


async def test_no_client_secret_is_stored_logged_or_published(api: Api) -> None:
    with capture_logs() as log:
        of = await customer(api)
        opened = (await setup(api, of)).json
        await api.call("GET", f"/v1/setups/{opened['id']}")
        challenged = {
            "type": "psp_payment_method",
            "payment_method": "pm_challenge",
            "return_url": RETURN_URL,
        }
        made = await api.authorize(key="a", payment=challenged)
        assert (await api.authorize(key="a", payment=challenged)).json == made.json
        read = await api.call("GET", f"/v1/authorizations/{made.json['id']}")
        assert read.json["client_secret"] == made.json["client_secret"]
        assert read.headers["Cache-Control"] == "no-store"
        listed = await api.call("GET", "/v1/authorizations")
    assert "SECRET" in made.text
    assert "SECRET" not in str(log) + listed.text
    tables = await api.services.pool.fetch(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname = 'gateway'"
    )
    for table in tables:
        for row in await api.services.pool.fetch(f"SELECT * FROM {table['name']}"):  # noqa: S608 - from the catalog
            assert "SECRET" not in str(dict(row)), table["name"]


async def test_the_return_url_of_an_authorization_reaches_the_psp(api: Api) -> None:
    payment = {"type": "psp_payment_method", "payment_method": "pm_challenge", "return_url": RETURN_URL}
    made = (await api.authorize(key="a", payment=payment)).json
    assert made["return_url"] == RETURN_URL
    (sent,) = api.psp.payments.values()
    assert sent.request.return_url == RETURN_URL
    assert json.loads(json.dumps(made))["state"] == "requires_action"
