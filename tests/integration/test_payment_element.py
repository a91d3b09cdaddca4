"""The whole flow with no account at the PSP: setup or authorization, form, challenge, return, charge."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from gateway.database import Pool
from gateway.payments.psp.stripe.adapter import StripePsp
from sandbox.stripe.server import RunningPsp, start_psp
from sandbox.stripe.settings import PspSettings
from sandbox.stripe.test_numbers import TEST_NUMBERS
from tests.fakes.api import Api, open_api
from tests.fakes.browser import CHROMIUM, Browser, browser

NUMBERS = {one.card: "".join(one.groups) for one in TEST_NUMBERS}
PAYS, ASKS = NUMBERS["pm_card_visa"], NUMBERS["pm_card_authenticationRequired"]
ONCE = NUMBERS["pm_card_authenticationRequiredOnSetup"]
PUBLISHABLE = "pk_test_sandbox"
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium to be installed")


@dataclass
class Flow:
    """A gateway on the sandbox PSP, an app's web page, and a driver's HTTP client."""

    api: Api
    psp: RunningPsp
    app: str
    http: aiohttp.ClientSession

    async def driver(
        self, method: str, path: str, *, key: str | None = PUBLISHABLE, **params: str
    ) -> tuple[int, Any]:
        """A call of the driver's browser to the PSP."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        sent = {"params": params} if method == "GET" else {"data": params}
        async with self.http.request(
            method, self.psp.url + path, headers=headers, allow_redirects=False, **sent
        ) as answer:
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            return answer.status, answer.headers.get("Location") or await answer.text()

    async def card(self, number: str, **changes: str) -> tuple[int, Any]:
        fields = {"number": number, "exp_month": "12", "exp_year": "34", "cvc": "123"} | changes
        return await self.driver(
            "POST",
            "/v1/payment_methods",
            type="card",
            **{f"card[{name}]": value for name, value in fields.items()},
        )

    async def setup(self, *, key: str = "s") -> Any:
        made = await self.api.call("POST", "/v1/customers", {"reference": f"driver-{key}"}, key=f"c{key}")
        assert made.status == 201, made.text
        opened = await self.api.call(
            "POST", f"/v1/customers/{made.json['id']}/setups", {"return_url": f"{self.app}/return"}, key=key
        )
        assert opened.status == 201, opened.text
        return opened.json

    async def confirm(self, setup: Any, number: str) -> tuple[int, Any]:
        _, method = await self.card(number)
        secret = setup["client_secret"]
        return await self.driver(
            "POST",
            f"/v1/setup_intents/{secret.partition('_secret')[0]}/confirm",
            client_secret=secret,
            payment_method=method["id"],
            return_url=setup["return_url"],
        )

    async def read(self, setup: Any) -> Any:
        return (await self.api.call("GET", f"/v1/setups/{setup['id']}")).json

    async def pay(self, done: Any, *, key: str = "p", **payment: Any) -> Any:
        given = {
            "type": "psp_payment_method",
            "payment_method": done["payment_method"],
            "customer": done["customer"],
        }
        return await self.api.authorize(key=key, session_ref=key, payment=given | payment)


APP_PAGE = """<!doctype html><title>app</title><div id="card"></div>
<script src="{script}"></script>
<script>
const element = SandboxPsp("pk_test_sandbox").createElement();
const mounted = element.mount("#card");
const psp = SandboxPsp("pk_test_sandbox");
</script>"""


@asynccontextmanager
async def opened(pool: Pool) -> AsyncIterator[Flow]:
    pages = web.Application()
    async with start_psp(PspSettings(pull_webhooks=True)) as running, aiohttp.ClientSession() as http:

        async def page(_request: web.Request) -> web.Response:
            script = f"{running.url}/_sandbox/element.js"
            return web.Response(text=APP_PAGE.replace("{script}", script), content_type="text/html")

        pages.router.add_get("/{path:.*}", page)
        adapter = StripePsp(
            api_key="sk_test_sandbox",
            webhook_secret="whsec_of_the_test",
            base_url=running.url,
            publishable_key=PUBLISHABLE,
        )
        async with TestServer(pages) as app, open_api(pool, psp=adapter) as api:  # type: ignore[arg-type]
            try:
                yield Flow(api=api, psp=running, app=f"http://127.0.0.1:{app.port}", http=http)
            finally:
                await adapter.close()


@pytest.fixture
async def flow(pool: Pool) -> AsyncIterator[Flow]:
    async with opened(pool) as ready:
        yield ready


async def test_a_card_is_saved_and_charged_while_the_driver_is_away(flow: Flow) -> None:
    configured = (await flow.api.call("GET", "/v1/client-configuration")).json
    assert configured["publishable_key"] == PUBLISHABLE
    status, script = await flow.driver("GET", urlsplit(configured["script_url"]).path, key=None)
    assert (status, "SandboxPsp" in script) == (200, True)
    setup = await flow.setup()
    status, confirmed = await flow.confirm(setup, PAYS)
    assert (status, confirmed["status"]) == (200, "succeeded"), confirmed
    done = await flow.read(setup)
    assert (done["state"], bool(done["mandate"])) == ("succeeded", True)
    saved = (await flow.api.call("GET", f"/v1/customers/{done['customer']}/payment-methods")).json["data"]
    assert [(one["brand"], one["last4"], one["exp_year"]) for one in saved] == [("visa", "4242", 2034)]
    for number in range(2):
        paid = await flow.pay(done, key=f"p{number}", off_session=True)
        assert (paid.status, paid.json["state"]) == (201, "authorized"), paid.text
    assert (await flow.api.call("DELETE", f"/v1/payment-methods/{saved[0]['id']}")).status == 204
    refused = await flow.pay(done, key="p3", off_session=True)
    assert (refused.status, refused.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("outcome", "state", "status"),
    [("succeed", "succeeded", "succeeded"), ("fail", "requires_payment_method", "failed")],
)
async def test_a_challenge_leads_back_to_the_app(flow: Flow, outcome: str, state: str, status: str) -> None:
    setup = await flow.setup()
    _, confirmed = await flow.confirm(setup, ONCE)
    assert confirmed["status"] == "requires_action"
    acting = await flow.read(setup)
    assert acting["state"] == "requires_action"
    assert acting["redirect_url"] == confirmed["next_action"]["redirect_to_url"]["url"]
    place = urlsplit(acting["redirect_url"]).path
    code, page = await flow.driver("GET", place, key=None)
    assert (code, "Confirm it is you" in page) == (200, True)
    assert flow.app in page
    code, location = await flow.driver(
        "POST", place.replace("authenticate", "answer"), key=None, outcome=outcome
    )
    back = urlsplit(location)
    assert (code, f"{back.scheme}://{back.netloc}{back.path}") == (303, setup["return_url"])
    assert parse_qs(back.query)["redirect_status"] == [status]
    done = await flow.read(setup)
    assert done["state"] == state
    assert (done["error"] is None) == (outcome == "succeed")
    again, _ = await flow.driver("POST", place.replace("authenticate", "answer"), key=None, outcome=outcome)
    assert again == 200
    if outcome == "succeed":
        assert (await flow.pay(done, off_session=True)).json["state"] == "authorized"


async def test_an_abandoned_challenge_changes_nothing_until_it_is_cancelled(flow: Flow) -> None:
    setup = await flow.setup()
    await flow.confirm(setup, ONCE)
    assert (await flow.read(setup))["state"] == "requires_action"
    ended = await flow.api.call("POST", f"/v1/setups/{setup['id']}/cancel", {}, key="e")
    assert ended.json["state"] == "cancelled"


async def test_an_authorization_that_requires_action_is_finished_at_the_psp(flow: Flow) -> None:
    _, method = await flow.card(ASKS)
    payment = {
        "type": "psp_payment_method",
        "payment_method": method["id"],
        "return_url": f"{flow.app}/return",
    }
    made = await flow.api.authorize(key="a", payment=payment)
    assert (made.status, made.json["state"]) == (201, "requires_action"), made.text
    assert made.json["publishable_key"] == PUBLISHABLE
    place = urlsplit(made.json["redirect_url"]).path
    intent = made.json["client_secret"].partition("_secret")[0]
    code, read = await flow.driver(
        "GET", f"/v1/payment_intents/{intent}", client_secret=made.json["client_secret"]
    )
    assert (code, read["status"], "metadata" in read) == (200, "requires_action", False)
    code, location = await flow.driver(
        "POST", place.replace("authenticate", "answer"), key=None, outcome="succeed"
    )
    assert (code, location.startswith(f"{flow.app}/return?payment_intent=")) == (303, True)
    await flow.api.services.payments.psp_events.sync_payment(psp_payment=intent)
    held = (await flow.api.call("GET", f"/v1/authorizations/{made.json['id']}")).json
    assert (held["state"], held["client_secret"], held["next_action"]) == ("authorized", None, None)


@pytest.mark.parametrize(
    ("number", "changes", "code"),
    [
        (NUMBERS["pm_card_visa_chargeDeclined"], {}, "card_declined"),
        (PAYS[:-1] + "1", {}, "incorrect_number"),
        ("123", {}, "incorrect_number"),
        (PAYS, {"exp_year": "20"}, "invalid_expiry_year"),
        (PAYS, {"exp_month": "13"}, "invalid_expiry_month"),
        (PAYS, {"cvc": "1"}, "invalid_cvc"),
        ("37" + "8282246310005", {}, "card_declined"),  # a test number that this PSP does not play
    ],
)
async def test_a_card_that_can_not_be_saved_says_why_and_is_not_echoed(
    flow: Flow, number: str, changes: dict[str, str], code: str
) -> None:
    setup = await flow.setup()
    status, answer = await flow.card(number, **changes)
    if status == 200:
        status, answer = await flow.confirm(setup, number)
    assert (status, answer["error"]["code"]) == (402, code)
    assert number not in str(answer) or len(number) < 4
    failed = await flow.read(setup)
    assert failed["state"] == "requires_payment_method"


async def test_the_publishable_key_may_finish_an_own_intent_and_nothing_else(flow: Flow) -> None:
    setup = await flow.setup()
    intent = setup["client_secret"].partition("_secret")[0]
    for method, path in (
        ("GET", "/v1/customers"),
        ("POST", "/v1/customers"),
        ("POST", "/v1/payment_intents"),
        ("POST", "/v1/refunds"),
        ("POST", f"/v1/setup_intents/{intent}/cancel"),
    ):
        status, answer = await flow.driver(method, path)
        assert (status, answer["error"]["code"]) == (403, "secret_key_required"), path
    status, _ = await flow.driver("GET", f"/v1/setup_intents/{intent}", client_secret="wrong")
    assert status == 404
    status, _ = await flow.driver("GET", f"/v1/setup_intents/{intent}")
    assert status == 404
    status, answer = await flow.driver(
        "POST", "/v1/payment_methods", key="sk_test_sandbox", type="card", **{"card[number]": PAYS}
    )
    assert status == 400
    assert PAYS not in str(answer)


async def test_no_card_number_reaches_the_gateway_or_is_kept_by_the_psp(flow: Flow, pool: Pool) -> None:
    with capture_logs() as log:
        setup = await flow.setup()
        await flow.confirm(setup, PAYS)
        await flow.read(setup)
    assert PAYS not in str(log)
    psp = flow.psp.engine.state
    assert all(PAYS not in str(record) for record in psp.records.scan("payment_method", "acct_platform"))
    for table in ("payment_method", "payment_method_setup", "event", "idempotency_key"):
        rows = await pool.fetch(f"SELECT * FROM gateway.{table}")  # noqa: S608 - a name of the line above
        assert PAYS not in str([dict(row) for row in rows])


async def test_unknown_pages_are_answered(flow: Flow) -> None:
    for method, path, status in (
        ("GET", "/_sandbox/setup_intents/seti_none/authenticate", 404),
        ("POST", "/_sandbox/setup_intents/seti_none/answer", 404),
        ("GET", "/_sandbox/element", 200),
        ("GET", "/_sandbox/style.css", 200),
    ):
        code, _ = await flow.driver(method, path, key=None)
        assert code == status, path


async def typed(page: Browser, last4: str, *, frame: str | None = None) -> None:
    """The driver chooses one of the test cards that the page offers."""
    await page.until("document.querySelectorAll('#numbers button').length > 5", frame=frame)
    await page.run(
        "[...document.querySelectorAll('#numbers button')]"
        f".find(button => button.textContent.includes('{last4}')).click()",
        frame=frame,
    )


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize(("answer", "state"), [("succeed", "succeeded"), ("fail", "requires_payment_method")])
async def test_in_a_browser_the_page_of_the_psp_saves_a_card(flow: Flow, answer: str, state: str) -> None:
    setup = await flow.setup()
    async with browser() as page:
        await page.go(
            f"{flow.psp.url}/_sandbox/element#publishable_key={setup['publishable_key']}"
            f"&client_secret={setup['client_secret']}&return_url={setup['return_url']}"
        )
        await typed(page, "3155")
        await page.run("document.getElementById('submit').click()")
        await page.until("location.pathname.endsWith('/authenticate') && document.forms.length === 1")
        await page.run(f"document.querySelector('button[value={answer}]').click()")
        shown = await page.until(f"location.origin === '{flow.app}' && location.href")
    assert f"redirect_status={'succeeded' if answer == 'succeed' else 'failed'}" in shown
    assert (await flow.read(setup))["state"] == state


@in_browser
@pytest.mark.slow
async def test_in_a_browser_the_script_saves_and_pays_within_the_apps_page(flow: Flow) -> None:
    setup = await flow.setup()
    async with browser() as page:
        await page.go(f"{flow.app}/checkout")
        await page.until("window.mounted !== undefined || (typeof mounted !== 'undefined')")
        await page.run("mounted.then(() => true)")
        await typed(page, "4242", frame=flow.psp.url)
        confirmed = await page.run(
            f"element.confirm({{clientSecret: '{setup['client_secret']}',"
            f" returnUrl: '{setup['return_url']}'}})"
        )
        assert confirmed["intent"]["status"] == "succeeded", confirmed
        done = await flow.read(setup)
        assert done["state"] == "succeeded"

        await typed(page, "3184", frame=flow.psp.url)
        once = await page.run("element.createPaymentMethod()")
        payment = {"type": "psp_payment_method", "payment_method": once["paymentMethod"]["id"]}
        made = await flow.api.authorize(key="a", payment=payment)
        assert made.json["state"] == "requires_action", made.text
        await page.run(
            "window.over = null; psp.handleNextAction("
            f"{{clientSecret: '{made.json['client_secret']}'}})"
            ".then(answer => { window.over = answer }); true"
        )
        asks = "document.querySelector('button[value=succeed]') !== null"
        await page.until(asks, frame=flow.psp.url)
        await page.run("document.querySelector('button[value=succeed]').click()", frame=flow.psp.url)
        over = await page.until("window.over")
    assert over["intent"]["status"] == "requires_capture", over


@in_browser
@pytest.mark.slow
async def test_in_a_browser_a_wrong_card_is_explained(flow: Flow) -> None:
    setup = await flow.setup()
    async with browser() as page:
        await page.go(
            f"{flow.psp.url}/_sandbox/element#publishable_key={setup['publishable_key']}"
            f"&client_secret={setup['client_secret']}&return_url={setup['return_url']}"
        )
        await typed(page, "9995")
        await page.run("document.getElementById('submit').click()")
        said = await page.until("!document.getElementById('error').hidden && error.textContent")
    assert "insufficient funds" in said
    assert (await flow.read(setup))["error"] == "insufficient_funds"
