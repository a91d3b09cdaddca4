"""VAT ids asked about at a register on loopback: an answer is kept with its number, a fault is not."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from clearing.parties.party import Party, VatEvidence
from clearing.ports import NoFinding
from clearing.services import ClearingServices, build_clearing
from gateway.adapters.vies import Vies
from gateway.database import Pool, transaction
from gateway.jobs.vat_evidence import VatEvidenceJob
from gateway.retry_policy import RetryPolicy
from tests.fakes import clearing_fixtures as world

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NL, DE = world.VAT_IDS["NL"], world.VAT_IDS["DE"]
Reply = Callable[[dict[str, str]], web.Response]


def found(*, valid: bool = True, **changes: Any) -> Reply:
    """An answer as VIES gives it."""

    def reply(asked: dict[str, str]) -> web.Response:
        body = {
            "countryCode": asked["countryCode"],
            "vatNumber": asked["vatNumber"],
            "valid": valid,
            "requestDate": "2026-11-20T12:00:00.000Z",
            "requestIdentifier": "WAPIAAAAZ1",
            "name": "---",
        }
        return web.json_response({**body, **changes})

    return reply


def fault(code: str) -> Reply:
    return lambda _: web.json_response({"actionSucceed": False, "errorWrappers": [{"error": code}]})


@dataclass
class Register:
    """A register that answers as a test says; the last reply stays."""

    replies: list[Reply] = field(default_factory=lambda: [found()])
    asked: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.asked.append(asked)
        return (self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])(asked)


@dataclass
class Hands:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
async def vies(register: Register) -> AsyncIterator[Vies]:
    app = web.Application()
    app.router.add_post("/rest-api/check-vat-number", register.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as client:
        yield Vies(
            client=client,
            address=str(server.make_url("/rest-api")),
            retry=RetryPolicy.of_seconds(0, max_attempts=3),
        )


async def ask(vies: Vies) -> VatEvidence | NoFinding:
    return await vies.check(NL, requester=DE, now=NOW)


async def test_an_answer_is_evidence_with_its_consultation_number(vies: Vies, register: Register) -> None:
    assert await ask(vies) == VatEvidence(
        effective_from=date(2026, 11, 20),
        vat_id=NL,
        valid=True,
        source="VIES",
        reference="WAPIAAAAZ1",
        checked_at=NOW,
    )
    assert register.asked == [
        {
            "countryCode": "NL",
            "vatNumber": NL[2:],
            "requesterMemberStateCode": "DE",
            "requesterNumber": DE[2:],
        }
    ]
    register.replies = [found(valid=False)]
    rejected = await ask(vies)
    assert isinstance(rejected, VatEvidence)
    assert not rejected.valid


@pytest.mark.parametrize(
    ("reply", "problem", "tries"),
    [
        (fault("MS_UNAVAILABLE"), "MS_UNAVAILABLE", 1),
        (fault("INVALID_INPUT"), "INVALID_INPUT", 1),
        (fault("MS_MAX_CONCURRENT_REQ"), "MS_MAX_CONCURRENT_REQ", 3),
        (lambda _: web.Response(status=503, text="busy"), "status 503 without JSON", 1),
        (lambda _: web.json_response([], status=200), "status 200 without an object", 1),
        (lambda _: web.json_response({"valid": True}, status=500), "status 500", 1),
        (found(valid="true"), "neither valid nor not valid", 1),  # type: ignore[arg-type]
        (found(valid=False, userError="MS_UNAVAILABLE"), "MS_UNAVAILABLE", 1),
        (found(vatNumber="other"), "an answer about another id", 1),
        (lambda _: web.json_response({"x": "y" * 100_000}), "unreachable", 3),  # longer than is read
        (
            lambda _: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
            "status 302 without JSON",  # not followed
            1,
        ),
    ],
)
async def test_what_is_no_plain_answer_is_no_evidence(
    vies: Vies, register: Register, reply: Reply, problem: str, tries: int
) -> None:
    register.replies = [reply]
    assert await ask(vies) == NoFinding(problem=problem)
    assert len(register.asked) == tries


async def test_a_passing_fault_is_tried_again(vies: Vies, register: Register) -> None:
    register.replies = [fault("GLOBAL_MAX_CONCURRENT_REQ"), fault("TIMEOUT"), found()]
    assert isinstance(await ask(vies), VatEvidence)


async def test_a_register_out_of_reach_is_no_evidence() -> None:
    async with aiohttp.ClientSession() as client:
        nobody = Vies(
            client=client, address="http://127.0.0.1:1", retry=RetryPolicy.of_seconds(0, max_attempts=1)
        )
        assert await ask(nobody) == NoFinding(problem="unreachable")


@dataclass
class System:
    pool: Pool
    service: ClearingServices
    clock: Hands
    job: VatEvidenceJob

    async def party(self, party_id: str) -> Party:
        async with self.pool.acquire() as connection:
            known = await self.service.reference_data.find_party(connection, party_id)
        assert known is not None
        return known


@pytest.fixture
async def system(pool: Pool, vies: Vies) -> System:
    service, clock = build_clearing(), Hands()
    platform = replace(world.PLATFORM, vat_registrations=(), vat_evidence=world.PLATFORM.vat_evidence[:1])
    async with transaction(pool) as connection:
        for known in (world.registered(platform, "DE"), world.NL_CPO, world.GB_CPO):
            await service.reference_data.register_party(connection, known, now=NOW)
    job = VatEvidenceJob(pool=pool, clock=clock, clearing=service, source=vies, after=timedelta(days=30))
    return System(pool=pool, service=service, clock=clock, job=job)


async def test_an_id_that_a_register_rejects_is_invalid_from_that_day_and_not_before(
    system: System, register: Register
) -> None:
    register.replies = [found(valid=False)]
    assert (
        await system.job.run_once() == 2
    )  # the Dutch CPO's and the platform's German one; not British or Swiss
    cpo = await system.party("NL-ABC")
    assert cpo.vat_id_on(date(2026, 11, 19)) == NL
    assert cpo.vat_id_on(date(2026, 11, 20)) is None
    platform = await system.party("platform")
    assert "DE" not in platform.vat_ids_on(date(2026, 11, 20))
    assert platform.vat_id_on(date(2026, 11, 20)) == world.VAT_IDS["CH"]


async def test_a_register_that_is_away_leaves_the_old_evidence_with_its_date(
    system: System, register: Register
) -> None:
    before = await system.party("NL-ABC")
    register.replies = [fault("MS_UNAVAILABLE")]
    assert await system.job.run_once() == 0
    assert (await system.party("NL-ABC")).vat_evidence == before.vat_evidence
    system.clock.at += timedelta(hours=2)
    assert await system.job.run_once() == 0
    assert len(register.asked) == 2  # asked again only after some hours
    system.clock.at += timedelta(hours=5)
    register.replies = [found()]
    assert await system.job.run_once() == 2


async def test_an_id_is_checked_again_when_its_evidence_is_old(system: System, register: Register) -> None:
    assert await system.job.run_once() == 2
    for days, answered in ((29, 0), (2, 2)):
        system.clock.at += timedelta(days=days)
        assert await system.job.run_once() == answered
    own = [one for one in (await system.party("NL-ABC")).vat_evidence if one.source == "VIES"]
    assert [one.effective_from for one in own] == [date(2026, 11, 20), date(2026, 12, 21)]
    assert {one.reference for one in own} == {"WAPIAAAAZ1"}


async def test_the_platforms_own_id_in_the_union_asks(system: System, register: Register) -> None:
    await system.job.run_once()
    assert {asked["requesterMemberStateCode"] for asked in register.asked} == {"DE"}
