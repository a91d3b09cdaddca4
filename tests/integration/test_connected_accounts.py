"""Connected accounts on the sandbox PSP: created, onboarded in its form, followed, held while unpayable."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.exceptions.service import ExceptionService
from gateway.jobs.connected_accounts import ConnectedAccountJob
from gateway.jobs.disbursements import DisbursementJob, PspRail
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.task_kinds import TaskKind
from sandbox.stripe.server import RunningPsp, start_psp
from sandbox.stripe.settings import PspSettings
from tests.fakes import clearing_fixtures as world
from tests.fakes.api import Answer, Api, open_api
from tests.fakes.parties import add_parties
from tests.fakes.tasks import jobs_by_kind
from tests.integration.test_bank_files import command
from tests.integration.test_disbursements import THURSDAY, System

PARTY = "/v1/parties/NL-ABC"
ACCOUNT = f"{PARTY}/connected-account"
PAGES = {"return_url": "https://cpo.example/back", "refresh_url": "https://cpo.example/again"}
SECRET = "whsec_of_the_test"


@dataclass
class Office:
    """A gateway on the sandbox PSP, with what one session made due."""

    system: System
    api: Api
    psp: RunningPsp
    http: aiohttp.ClientSession
    job: DisbursementJob

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.api.call(method, path, body, **{"party": "cpo", **more})

    async def created(self, *, key: str = "k1", **body: Any) -> Any:
        made = await self.call("POST", ACCOUNT, body, key=key)
        assert made.status == 201, made.text
        return made.json

    async def confirmed(self) -> None:
        """A second person has agreed to the new account."""
        for hold in await self.holds(lifted=False):
            if hold["placed_by"] != "psp":
                done = await self.call("DELETE", f"{PARTY}/payout-holds/{hold['id']}", party="ben")
                assert done.status == 200, done.text

    async def holds(self, *, lifted: bool | None = None, by: str | None = None) -> list[Any]:
        found = (await self.call("GET", f"{PARTY}/payout-holds")).json["data"]
        return [
            one
            for one in found
            if (lifted is None or (one["lifted"] is not None) is lifted) and by in {None, one["placed_by"]}
        ]

    async def control(self, path: str, body: Any) -> Any:
        async with self.http.post(f"{self.psp.url}/_sandbox/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def deliver(self) -> list[str]:
        """Deliver what the PSP has to say, and let the worker handle it; the types of the events."""
        sent = []
        for webhook in self.psp.engine.pop_webhooks():
            answer = await self.api.client.post(
                "/v1/psp/webhooks", data=webhook.body, headers=webhook.headers
            )
            assert answer.status == 200
            sent.append(webhook.body.decode())
        worker = jobs_by_kind(
            self.system.pool,
            self.api.clock,
            payments=self.api.services.payments,
            accounts=self.api.services.connected_accounts,
        )[TaskKind.HANDLE_PSP_EVENT]
        while await worker.run_once():
            pass
        return sent

    async def state(self) -> str | None:
        async with self.system.pool.acquire() as connection:
            value: str | None = await connection.fetchval(
                "SELECT state FROM clearing.disbursement WHERE party_id = $1 "
                "ORDER BY planned_at DESC LIMIT 1",
                "NL-ABC",
            )
            return value

    async def events(self) -> list[str]:
        async with self.system.pool.acquire() as connection:
            found = await connection.fetch(
                "SELECT type FROM gateway.event WHERE party_id = 'NL-ABC' ORDER BY created_at, id"
            )
        return [row["type"] for row in found]

    async def transfers(self) -> int:
        return len(list(self.psp.engine.state.records.scan("transfer", "acct_platform")))


@pytest.fixture
async def office(pool: Pool) -> AsyncIterator[Office]:
    settings = PspSettings(
        pull_webhooks=True, webhook_url="http://gateway.test/v1/psp/webhooks", webhook_secret=SECRET
    )
    async with start_psp(settings) as psp, aiohttp.ClientSession() as http:
        adapter = StripePsp(api_key="sk_test_sandbox", webhook_secret=SECRET, base_url=psp.url)
        try:
            async with _opened(pool, adapter, psp, http) as opened:
                yield opened
        finally:
            await adapter.close()


@asynccontextmanager
async def _opened(
    pool: Pool, adapter: StripePsp, psp: RunningPsp, http: aiohttp.ClientSession
) -> AsyncIterator[Office]:
    system = System(pool)
    await system.open()
    async with transaction(pool) as connection:
        await add_parties(connection, {one.id: one.kind.value for one in world.PARTIES.values()})
        for known in world.PARTIES.values():
            if known.connected_account is not None:  # paid to none until the test says where
                await connection.execute(
                    "UPDATE clearing.party SET connected_account = NULL WHERE id = $1", known.id
                )
        await connection.execute("UPDATE clearing.reference_epoch SET epoch = gen_random_uuid()")
    await system.clear(1)
    async with open_api(pool, psp=adapter) as api:
        api.clock.at = THURSDAY
        for name, party, scopes in (
            ("anna", "platform", ["admin"]),
            ("ben", "platform", ["admin"]),
            ("cpo", "NL-ABC", ["settlement:read", "settlement:write"]),
            ("reader", "NL-ABC", ["settlement:read"]),
            ("other", "superapp", ["settlement:read", "settlement:write"]),
        ):
            made = await api.call("POST", f"/v1/parties/{party}/api-keys", {"scopes": scopes}, party="admin")
            api.keys[name] = made.json["api_key"]
        clock: Clock = api.clock
        job = DisbursementJob(
            pool=pool,
            clock=clock,
            clearing=api.services.clearing,
            rail=PspRail(psp=adapter),
            accounts=api.services.connected_accounts,
        )
        await _topped_up(psp, http)
        yield Office(system=system, api=api, psp=psp, http=http, job=job)


async def _topped_up(psp: RunningPsp, http: aiohttp.ClientSession) -> None:
    key = {"Authorization": "Bearer sk_test_sandbox"}
    form = {"amount": "100000", "currency": "eur", "description": "float"}
    async with http.post(f"{psp.url}/v1/topups", data=form, headers=key) as answer:
        assert answer.status == 200


async def test_a_party_is_onboarded_in_the_psps_form_and_then_paid(office: Office) -> None:
    account = await office.created(email="treasury@cpo.example")
    assert (account["party"], account["payable"], account["transfers"]) == ("NL-ABC", False, "inactive")
    assert account["disabled_reason"] == "requirements.past_due"
    assert "external_account" in account["requirements"]
    (hold,) = await office.holds(by="psp")
    assert account["id"] in hold["reason"]
    assert "requirements.past_due" in hold["reason"]
    assert hold["since"] == THURSDAY.date().isoformat()
    await office.confirmed()
    await office.job.run()
    assert (await office.state(), await office.transfers()) == (None, 0)  # nothing was sent to learn it

    link = await office.call("POST", f"{ACCOUNT}/links", PAGES)
    assert link.status == 201, link.text
    async with office.http.get(link.json["url"], allow_redirects=False) as page:
        assert page.status == 200
        assert account["id"] in await page.text()
    form = {"outcome": "complete"}
    async with office.http.post(f"{link.json['url']}/answer", data=form, allow_redirects=False) as left:
        assert (left.status, left.headers["Location"]) == (303, PAGES["return_url"])
    await office.deliver()
    now = (await office.call("GET", ACCOUNT)).json
    assert (now["payable"], now["details_submitted"], now["requirements"]) == (True, True, [])
    (ended,) = await office.holds(by="psp")
    assert ended["lifted_by"] == "psp"
    await office.job.run()
    assert (await office.state(), await office.transfers()) == ("paid", 1)
    seen = await office.events()
    assert seen.count("connected_account.updated") == 2
    assert seen.index("payout_hold.placed") < seen.index("payout_hold.lifted")


async def test_an_account_that_is_restricted_later_is_held_before_money_is_sent(office: Office) -> None:
    account = await office.created()
    await office.control(f"accounts/{account['id']}/complete", {})
    await office.deliver()
    await office.confirmed()
    await office.job.plan()
    assert await office.state() == "planned"
    await office.control(
        f"accounts/{account['id']}/restrict", {"disabled_reason": "rejected.fraud", "due": ["company.tax_id"]}
    )
    await office.deliver()
    assert await office.state() == "cancelled"
    (hold,) = await office.holds(lifted=False)
    assert "rejected.fraud" in hold["reason"]
    await office.control(f"accounts/{account['id']}/restrict", {"disabled_reason": "under_review"})
    await office.deliver()
    (other,) = await office.holds(lifted=False)  # one hold at a time, with the present reason
    assert "under_review" in other["reason"]
    await office.job.run()
    assert await office.transfers() == 0


async def test_an_event_that_was_lost_is_made_up_for_before_anything_is_planned(office: Office) -> None:
    account = await office.created()
    await office.control(f"accounts/{account['id']}/complete", {})
    await office.deliver()
    await office.confirmed()
    await office.control(f"accounts/{account['id']}/restrict", {"disabled_reason": "listed"})
    office.psp.engine.pop_webhooks()  # lost
    office.api.clock.pass_wall(16 * 60)
    await office.job.run()
    assert (await office.state(), await office.transfers()) == (None, 0)
    assert len(await office.holds(lifted=False)) == 1
    await office.control(f"accounts/{account['id']}/complete", {})
    office.psp.engine.pop_webhooks()  # lost too
    job = ConnectedAccountJob(clock=office.api.clock, accounts=office.api.services.connected_accounts)
    await job.run_once()
    assert len(await office.holds(lifted=False)) == 1  # read a moment ago
    office.api.clock.pass_wall(61 * 60)
    await job.run_once()
    assert await office.holds(lifted=False) == []


async def test_a_transfer_that_the_psp_refuses_leaves_a_hold_and_is_made_once_it_may(office: Office) -> None:
    account = await office.created()
    await office.control(f"accounts/{account['id']}/complete", {})
    await office.deliver()
    await office.confirmed()
    await office.job.plan()
    await office.control(f"accounts/{account['id']}/restrict", {"disabled_reason": "other"})
    office.psp.engine.pop_webhooks()  # restricted between planning and paying, and nobody said so
    await office.job.pay()
    assert await office.state() == "failed"
    (hold,) = await office.holds(lifted=False)
    assert "(other)" in hold["reason"]
    await office.control(f"accounts/{account['id']}/complete", {})
    await office.deliver()
    office.api.clock.at = THURSDAY + timedelta(hours=2)
    await office.job.run()
    assert (await office.state(), await office.transfers()) == ("paid", 1)
    await office.system.proved()


async def test_the_hold_of_the_psp_is_the_psps_to_lift_and_an_exception_until_then(office: Office) -> None:
    await office.created()
    await office.confirmed()
    (hold,) = await office.holds(lifted=False)
    refused = await office.call("DELETE", f"{PARTY}/payout-holds/{hold['id']}", party="anna")
    assert (refused.status, refused.json["code"]) == (409, "state_conflict")
    assert "ends by itself" in refused.json["detail"]
    async with transaction(office.system.pool) as connection:
        await ExceptionService(clearing=office.api.services.clearing).refresh(
            connection, now=THURSDAY, wall_now=office.api.clock.wall_now()
        )
    found = (await office.call("GET", "/v1/exceptions", party="anna")).json["data"]
    (one,) = [each for each in found if each["party"] == "NL-ABC"]
    assert (one["kind"], one["subject"]) == ("unpayable_account", hold["id"])
    assert one["amount"] > 0
    assert "onboarding link" in one["next_step"]["text"]


async def test_a_hold_of_the_psp_keeps_nobody_from_being_paid_by_bank(office: Office) -> None:
    await office.created()
    await office.confirmed()
    terms = (await office.call("GET", f"{PARTY}/payout-terms")).json
    assert (terms["paid_by"], terms["held"]) == ("psp", True)
    details = {
        "name": "NL-ABC B.V.",
        "iban": "NL91ABNA0417164300",
        "bic": "ABNANL2A",
        "address": {"town": "Amsterdam", "country": "NL"},
    }
    made = await office.call("POST", f"{PARTY}/bank-details", details, party="anna")
    where = f"{PARTY}/bank-details/{made.json['version']}/approve"
    assert (await office.call("POST", where, party="ben")).status == 200
    terms = (await office.call("GET", f"{PARTY}/payout-terms")).json
    assert (terms["paid_by"], terms["held"]) == ("bank", False)
    await office.job.plan()
    assert await office.state() == "planned"


async def test_an_existing_account_is_attached_once_the_psp_knows_it(office: Office) -> None:
    existing = await _connected_elsewhere(office)
    where = f"{ACCOUNT}/attach"
    by_party = await office.call("POST", where, {"psp_account": existing})
    assert (by_party.status, by_party.json["code"]) == (403, "missing_scope")
    unknown = await office.call("POST", where, {"psp_account": "acct_1Nobody"}, party="anna")
    assert (unknown.status, unknown.json["errors"][0]["pointer"]) == (400, "/psp_account"), unknown.text
    attached = await office.call("POST", where, {"psp_account": existing}, party="anna")
    assert (attached.status, attached.json["payable"]) == (200, True), attached.text
    (hold,) = await office.holds()
    assert (await office.call("DELETE", f"{PARTY}/payout-holds/{hold['id']}", party="anna")).status == 409
    await office.confirmed()
    await office.job.run()
    assert await office.state() == "paid"
    taken = await office.call(
        "POST", "/v1/parties/superapp/connected-account/attach", {"psp_account": existing}, party="anna"
    )
    assert (taken.status, taken.json["code"]) == (409, "state_conflict")
    again = await office.call("POST", ACCOUNT, {}, key="k9")
    assert (again.status, again.json["code"]) == (409, "state_conflict")


async def test_two_parties_can_not_be_given_one_account_at_the_same_moment(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    existing = await _connected_elsewhere(office)
    service = office.api.services.connected_accounts
    both_asked, ask = asyncio.Barrier(2), service.psp.inspect_account

    async def inspect_account(*, psp_account: str) -> Any:
        answer = await ask(psp_account=psp_account)
        await both_asked.wait()  # neither is recorded before both have found the account free
        return answer

    monkeypatch.setattr(service.psp, "inspect_account", inspect_account)
    answers = await asyncio.gather(
        *(
            office.call(
                "POST",
                f"/v1/parties/{party}/connected-account/attach",
                {"psp_account": existing},
                party="anna",
            )
            for party in ("NL-ABC", "superapp")
        )
    )
    assert sorted(one.status for one in answers) == [200, 409], [one.text for one in answers]


async def _connected_elsewhere(office: Office) -> str:
    """An account that somebody connected to the platform's own at the PSP itself."""
    form = {"type": "custom", "country": "NL"}
    key = {"Authorization": "Bearer sk_test_sandbox"}
    async with office.http.post(f"{office.psp.url}/v1/accounts", data=form, headers=key) as answer:
        made: str = (await answer.json())["id"]
        return made


async def test_an_account_that_its_holder_disconnects_can_not_be_paid(office: Office) -> None:
    account = await office.created()
    await office.control(f"accounts/{account['id']}/complete", {})
    await office.deliver()
    key = {"Authorization": "Bearer sk_test_sandbox"}
    async with office.http.delete(f"{office.psp.url}/v1/accounts/{account['id']}", headers=key) as gone:
        assert gone.status == 200
    await office.api.services.connected_accounts.refresh(["NL-ABC"], older_than=timedelta(0))
    now = (await office.call("GET", ACCOUNT)).json
    assert (now["transfers"], now["payable"], now["disabled_reason"]) == ("unknown", False, "account_invalid")
    listed = await office.call("GET", "/v1/connected-accounts?payable=false", party="anna")
    assert [one["id"] for one in listed.json["data"]] == [account["id"]]
    listed = await office.call("GET", "/v1/connected-accounts?payable=true", party="anna")
    assert listed.json["data"] == []


async def test_a_psp_that_does_not_answer_changes_no_hold(office: Office, pool: Pool) -> None:
    account = await office.created()
    await office.control(f"accounts/{account['id']}/complete", {})
    await office.deliver()
    await office.control(
        "faults", {"match": {"path_regex": "/v1/accounts/"}, "fault": {"kind": "status", "status": 500}}
    )
    await office.api.services.connected_accounts.refresh(["NL-ABC"], older_than=timedelta(0))
    assert (await office.call("GET", ACCOUNT)).json["payable"] is True
    assert await office.holds(lifted=False, by="psp") == []


async def test_an_onboarding_link_opens_once_and_is_kept_nowhere(office: Office, pool: Pool) -> None:
    await office.created()
    with capture_logs() as log:
        made = await office.call("POST", f"{ACCOUNT}/links", PAGES, key="l1")
    assert made.headers["Cache-Control"] == "no-store"
    url = made.json["url"]
    secret = url.rpartition("/")[2]
    assert secret not in str(log)
    for table in ("gateway.idempotency_key", "gateway.event", "gateway.connected_account"):
        rows = await pool.fetch(f"SELECT * FROM {table}")  # noqa: S608 - names of this test
        assert secret not in str([dict(row) for row in rows])
    async with office.http.get(url, allow_redirects=False) as first:
        assert first.status == 200
    async with office.http.get(url, allow_redirects=False) as second:
        assert (second.status, second.headers["Location"]) == (303, PAGES["refresh_url"])


async def test_the_same_request_creates_one_account_and_another_party_sees_none(office: Office) -> None:
    first, again = await office.created(), await office.created()
    assert first["id"] == again["id"]
    for method, path, body in (
        ("GET", ACCOUNT, None),
        ("POST", ACCOUNT, {}),
        ("POST", f"{ACCOUNT}/links", PAGES),
    ):
        foreign = await office.call(method, path, body, party="other", key=path + method)
        assert (foreign.status, foreign.json["code"]) == (404, "not_found"), path
    reading = await office.call("POST", f"{ACCOUNT}/links", PAGES, party="reader")
    assert reading.status == 403
    none = await office.call("GET", "/v1/parties/superapp/connected-account", party="other")
    assert (none.status, none.json["code"]) == (404, "not_found")


async def test_the_command_lists_who_can_not_be_paid_and_why(office: Office, database_url: str) -> None:
    account = await office.created()
    shown = await asyncio.to_thread(command, database_url, "payouts", "accounts", "--unpayable")
    (line,) = [one for one in shown.stdout.splitlines() if account["id"] in one]
    assert all(text in line for text in ("NL-ABC", "inactive", "requirements.past_due", "external_account"))
    await office.control(f"accounts/{account['id']}/complete", {})
    await office.deliver()
    none = await asyncio.to_thread(command, database_url, "payouts", "accounts", "--unpayable")
    assert account["id"] not in none.stdout
    every = await asyncio.to_thread(command, database_url, "payouts", "accounts", "--json")
    assert account["id"] in every.stdout


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        (ACCOUNT, {"country": "nl"}, "/country"),
        (ACCOUNT, {"email": "nobody"}, "/email"),
        (f"{ACCOUNT}/links", {**PAGES, "return_url": "cpo://back"}, "/return_url"),
        (f"{ACCOUNT}/links", {"return_url": "https://cpo.example"}, "/refresh_url"),
    ],
)
async def test_what_can_not_be_is_said(office: Office, path: str, body: Any, pointer: str) -> None:
    refused = await office.call("POST", path, body, key="bad")
    assert refused.status == 400, refused.text
    assert pointer in [one["pointer"] for one in refused.json["errors"]]
