"""The console on a real PostgreSQL: the API of the tests with pages, and people who are signed in."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import ClientSession, CookieJar
from aiohttp.test_utils import TestServer

from gateway.api.server import build_api
from gateway.console.server import LIVE_SECONDS, Console
from gateway.database import Pool, transaction
from gateway.ids import new_id, parse_id, shard_of
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.disbursements import DisbursementJob, PspRail
from gateway.payments.psp.dispute_port import DisputeState, DisputeUpdate
from gateway.payments.requests import ChargePoint
from gateway.people.person import PersonRecord, SessionLimits
from gateway.people.roles import PersonRole
from gateway.people.sign_in import OpenIdProvider, SignInService
from gateway.scopes import ALL_SCOPES
from pnc.revocation_checker import RevocationChecker
from pnc.service import PlugAndChargeService
from tests.fakes.api import START, TARIFF, Answer, Api, OneTariff, cdr, open_api
from tests.fakes.parties import create_market
from tests.fakes.pnc_market import ScriptedFetcher

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


@dataclass
class Visitor:
    """A browser without script: its cookies, and forms that carry what the page gave."""

    session: ClientSession
    base: str
    person: PersonRecord | None = None

    async def get(self, path: str, *, follow: bool = False, **headers: str) -> Answer:
        response = await self.session.get(self.base + path, allow_redirects=follow, headers=headers)
        return Answer(status=response.status, headers=response.headers, content=await response.read())

    async def post(
        self, path: str, form: dict[str, str] | None = None, *, csrf: str | None = None, **headers: str
    ) -> Answer:
        """Send a form. `csrf` None takes the token of the first page, "" sends none."""
        fields = dict(form or {})
        if csrf is None:
            csrf = await self.csrf()
        if csrf:
            fields["csrf"] = csrf
        response = await self.session.post(
            self.base + path, data=fields, allow_redirects=False, headers=headers
        )
        return Answer(status=response.status, headers=response.headers, content=await response.read())

    async def csrf(self) -> str:
        found = _CSRF.search((await self.get("/console/events")).text) or _CSRF.search(
            (await self.get("/console")).text
        )
        assert found is not None
        return found[1]


@dataclass
class ConsoleOfTest:
    """The pages' server, and the API that it shares everything with."""

    api: Api
    base: str
    sign_in: SignInService
    jars: list[ClientSession] = field(default_factory=list)

    def visitor(self) -> Visitor:
        session = ClientSession(cookie_jar=CookieJar(unsafe=True))
        self.jars.append(session)
        return Visitor(session=session, base=self.base)

    async def invite(
        self, *, party: str = "platform", role: str = "administrator", name: str = "Anna Keller"
    ) -> tuple[PersonRecord, str]:
        """A new person with a link that signs them in: its path."""
        service = self.api.services.people
        number = len(await service.list(party_id=None))
        person = await service.invite(
            person_id=new_id(),
            party_id=party,
            email=f"person{number}@example.com",
            name=name,
            role=PersonRole(role),
            by="admin",
            maker=ALL_SCOPES,
        )
        made = await service.link(person.id, party_id=None, by="admin", maker=ALL_SCOPES)
        return person, f"/console/sign-in/{made.token}"

    async def signed_in(self, **who: str) -> Visitor:
        """Somebody who has used their link."""
        person, path = await self.invite(**who)
        visitor = self.visitor()
        answer = await visitor.post(path, csrf="")
        assert answer.status == 303, answer.text
        visitor.person = person
        return visitor


@asynccontextmanager
async def open_console(
    pool: Pool,
    *,
    provider: OpenIdProvider | None = None,
    limits: SessionLimits | None = None,
    live_seconds: float = LIVE_SECONDS,
    **options: Any,
) -> AsyncIterator[ConsoleOfTest]:
    """The console over the API of the tests."""
    service = PlugAndChargeService(revocation_checker=RevocationChecker(fetcher=ScriptedFetcher(now=START)))
    async with open_api(pool, **({"plug_and_charge": service} | options)) as api:
        sign_in = SignInService(
            pool=pool, clock=api.clock, limits=limits or SessionLimits(), provider=provider
        )
        application = build_api(api.services)
        Console(api.services, sign_in, live_seconds=live_seconds).add_to(application)
        async with TestServer(application) as server:
            console = ConsoleOfTest(api=api, base=str(server.make_url("")).rstrip("/"), sign_in=sign_in)
            try:
                yield console
            finally:
                for session in console.jars:
                    await session.close()


HOSTILE = "<script>document.title='x'</script>&\"'<img src=x onerror=alert(1)>"


class HostileTariff:
    """A tariff source whose location and tariff texts are HTML."""

    async def tariff_for(self, connection: Any, **asked: Any) -> Any:
        found = await OneTariff().tariff_for(connection, **asked)
        if not isinstance(found, ChargePoint):
            return found
        tariff = TARIFF | {"tariff_alt_text": [{"language": "en", "text": HOSTILE}]}
        return replace(found, location_id=HOSTILE[:36], tariff_raw=json.dumps(tariff).encode())


async def clear(api: Api) -> int:
    """A round of clearing; how many sessions it had."""
    clearing = api.services.clearing
    job = ClearingJob(
        pool=api.services.pool, clock=api.clock, sessions=clearing.sessions, batch_size=10, chain=0
    )
    api.clock.pass_wall(5)
    return await job.run_once()


async def paid_session(api: Api, *, settles: Mapping[str, str] | None = None) -> str:
    """A session that was captured, cleared and paid out, with hostile texts wherever a party may write.

    `settles`: parties that are paid in another currency than the market says.
    """
    await create_market(api, name=HOSTILE, settles=settles, street=HOSTILE)
    hook = {"url": "https://127.0.0.1:9/hook", "events": ["*"]}
    assert (await api.call("POST", "/v1/webhook-endpoints", hook, party="parking")).status == 201
    begun = await api.authorize(key="a1", session_ref=HOSTILE[:60], metadata={"note": HOSTILE})
    session = str(begun.json["session"])
    body = {"cdr": json.loads(cdr())}
    ended = await api.call("POST", f"/v1/sessions/{session}/complete", body, key="c1")
    assert ended.json["capture"]["state"] == "succeeded", ended.text
    assert await clear(api) == 1
    api.clock.at += timedelta(days=7)
    payouts = DisbursementJob(
        pool=api.services.pool, clock=api.clock, clearing=api.services.clearing, rail=PspRail(psp=api.psp)
    )
    assert await payouts.run() == 2
    api.clock.wall = datetime.now(UTC) + timedelta(
        seconds=5
    )  # a reader of events sees what is older than a second
    return session


async def disputed(api: Api, session: str) -> None:
    """Have the cardholder's bank reclaim what a session's driver paid, and book it."""
    session_id = parse_id("ses", session)
    shard = shard_of(session_id)
    update = DisputeUpdate(
        psp_dispute="du_1",
        state=DisputeState.OPENED,
        amount_minor=1190,
        withdrawn_minor=1190,
        fee_minor=1500,
        fee_currency="EUR",
        currency="EUR",
        reason="fraudulent",
    )
    disputes = api.services.payments.disputes
    assert await disputes.record_update(update, shard=shard, session_id=session_id)  # type: ignore[attr-defined]
    async with transaction(api.services.pool) as connection:
        await api.services.clearing.sessions.open_dispute(
            connection,
            session_id,
            minor=update.withdrawn_minor,
            fee_minor=update.fee_minor,
            fee_currency=update.fee_currency,
            reference=update.psp_dispute,
            now=api.clock.now(),
        )
