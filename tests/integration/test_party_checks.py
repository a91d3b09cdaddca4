"""A party whose checks are missing, lapsed or adverse is not paid; its hold comes and goes by itself."""

import asyncio
import hashlib
import json
import subprocess
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clearing.sanctions.screening import SanctionsEntry, SanctionsList
from gateway.database import transaction
from gateway.exceptions.service import ExceptionService
from gateway.jobs.disbursements import DisbursementJob, PspRail
from gateway.jobs.sanctions_screening import SanctionsScreeningJob
from gateway.payouts.party_check_service import PartyCheckService
from tests.fakes import clearing_fixtures as world
from tests.fakes.command import networkcore
from tests.integration.test_api_payouts import DETAILS, PARTY, PayoutApi, payouts  # noqa: F401 - a fixture
from tests.integration.test_disbursements import THURSDAY

ROOT = Path(__file__).resolve().parents[2]
CHECKS = f"{PARTY}/checks"
REGISTER: dict[str, Any] = {
    "kind": "commercial_register",
    "result": "passed",
    "performed_by": "A. Jansen, compliance",
    "checked_on": "2026-10-12",
    "reference": "KvK 12345678",
}
ALL_OF_A_CPO = ("commercial_register", "beneficial_owners", "sanctions_screening")


class Checked:
    """The payout API and a disbursement job that asks for the required checks."""

    def __init__(self, opened: PayoutApi, *, required: bool = True) -> None:
        self.opened, self.api, self.call = opened, opened.api, opened.call
        self.checks = PartyCheckService(
            pool=opened.system.pool, clock=opened.api.clock, clearing=opened.system.service, required=required
        )
        object.__setattr__(opened.api.services, "party_checks", self.checks)
        self.job = DisbursementJob(
            pool=opened.system.pool,
            clock=opened.api.clock,
            clearing=opened.system.service,
            rail=PspRail(psp=opened.api.psp),
            checks=self.checks,
        )

    async def plan(self, at: datetime = THURSDAY) -> list[str]:
        """Plan at that time; the parties with a planned disbursement."""
        self.api.clock.at = at
        await self.job.plan()
        async with self.opened.system.pool.acquire() as connection:
            found = await connection.fetch(
                "SELECT party_id FROM clearing.disbursement WHERE state = 'planned' ORDER BY party_id"
            )
        return [row["party_id"] for row in found]

    async def record(self, party: str = "anna", status: int = 201, **changes: Any) -> dict[str, Any]:
        made = await self.call("POST", CHECKS, {**REGISTER, **changes}, party=party)
        assert made.status == status, made.text
        return dict(made.json)

    async def complete(self) -> None:
        for kind in ALL_OF_A_CPO:
            await self.record(kind=kind)

    async def holds(self) -> list[tuple[str, bool]]:
        found = await self.call("GET", f"{PARTY}/payout-holds", party="reader")
        return [(one["reason"], one["lifted"] is not None) for one in found.json["data"]]

    async def exceptions(self) -> list[str]:
        async with transaction(self.opened.system.pool) as connection:
            await ExceptionService(clearing=self.opened.system.service).refresh(
                connection, now=self.api.clock.now(), wall_now=self.api.clock.wall_now()
            )
            found = await connection.fetch(
                "SELECT kind FROM gateway.exception WHERE state = 'open' AND party_id = 'NL-ABC'"
            )
        return [row["kind"] for row in found]


@pytest.fixture
def checked(payouts: PayoutApi) -> Checked:  # noqa: F811 - the fixture
    return Checked(payouts)


async def test_nothing_is_planned_for_a_party_without_its_checks(checked: Checked) -> None:
    assert world.NL_CPO.id not in await checked.plan()
    ((reason, lifted),) = await checked.holds()
    assert reason.startswith("commercial register extract: not recorded; ")
    assert not lifted
    await checked.plan()
    assert len(await checked.holds()) == 1


async def test_the_hold_is_lifted_by_itself_with_the_last_check(checked: Checked) -> None:
    await checked.plan()
    await checked.complete()
    assert all(lifted for _, lifted in await checked.holds())
    assert world.NL_CPO.id in await checked.plan()
    seen = await checked.opened.events()
    assert seen.count("party_check.recorded") == 3
    assert seen.count("payout_hold.placed") == seen.count("payout_hold.lifted") == 3


async def test_a_lapsed_check_cancels_what_was_planned(checked: Checked) -> None:
    checked.api.clock.at = THURSDAY
    await checked.complete()
    await checked.record(kind="sanctions_screening", valid_until="2026-10-16")
    assert world.NL_CPO.id in await checked.plan()
    midnight = THURSDAY.replace(hour=22)  # 00:00 of 16 October in Amsterdam
    assert world.NL_CPO.id in await checked.plan(midnight - timedelta(minutes=1))
    assert world.NL_CPO.id not in await checked.plan(midnight)
    assert ("sanctions screening: lapsed on 2026-10-16", False) in await checked.holds()
    await checked.record(kind="sanctions_screening", checked_on="2026-10-16")
    assert world.NL_CPO.id in await checked.plan(midnight + timedelta(minutes=1))


async def test_what_checks_withhold_is_an_exception_that_ends_by_itself(checked: Checked) -> None:
    await checked.plan()
    assert await checked.exceptions() == ["unchecked_party"]
    await checked.complete()
    assert await checked.exceptions() == []


async def test_a_check_that_lapses_within_a_week_is_an_exception_until_it_is_done_again(
    checked: Checked,
) -> None:
    checked.api.clock.at = THURSDAY  # 15 October
    await checked.complete()
    await checked.record(kind="commercial_register", valid_until="2026-10-23")
    assert await checked.exceptions() == []
    checked.api.clock.at = THURSDAY + timedelta(days=1)
    assert await checked.exceptions() == ["lapsing_party_check"]
    await checked.record(kind="commercial_register", checked_on="2026-10-16")
    assert await checked.exceptions() == []


async def test_a_person_cannot_lift_the_hold(checked: Checked) -> None:
    await checked.plan()
    found = await checked.call("GET", f"{PARTY}/payout-holds", party="anna")
    done = await checked.call("DELETE", f"{PARTY}/payout-holds/{found.json['data'][0]['id']}", party="anna")
    assert done.status == 409
    assert "ends by itself" in done.text


async def test_where_nothing_is_required_only_an_adverse_check_holds(payouts: PayoutApi) -> None:  # noqa: F811 - the fixture
    checked = Checked(payouts, required=False)
    assert world.NL_CPO.id in await checked.plan()
    assert await checked.holds() == []
    await checked.record(kind="sanctions_screening", result="failed")
    assert world.NL_CPO.id not in await checked.plan()
    assert await checked.holds() == [("sanctions screening: failed on 2026-10-12", False)]
    await checked.record(kind="sanctions_screening", status=409)
    await checked.record("ben", kind="sanctions_screening", note="a namesake")
    assert world.NL_CPO.id in await checked.plan()


async def test_a_payee_name_that_did_not_match_needs_a_second_person(payouts: PayoutApi) -> None:  # noqa: F811 - the fixture
    checked = Checked(payouts, required=False)
    await payouts.confirmed()
    name = {"kind": "payee_name", "result": "no_match", "bank_details_version": 1}
    unlike = await checked.record(**name)
    assert world.NL_CPO.id not in await checked.plan()
    where = f"{CHECKS}/{unlike['id']}/confirm"
    reason = {"note": "account of the parent company"}
    own = await checked.call("POST", where, reason, party="anna")
    assert own.status == 409, own.text
    done = await checked.call("POST", where, reason, party="ben")
    assert done.status == 201, done.text
    assert done.json["confirms"] == unlike["id"]
    assert world.NL_CPO.id in await checked.plan()
    history = await checked.call("GET", CHECKS, party="reader")
    assert [one["id"] for one in history.json["data"]] == [done.json["id"], unlike["id"]]
    assert len({one["recorded_by"] for one in history.json["data"]}) == 2


async def test_a_payee_name_counts_for_its_own_account_alone(checked: Checked) -> None:
    await checked.complete()
    await checked.opened.confirmed()
    await checked.record(kind="payee_name", result="match", bank_details_version=1)
    assert world.NL_CPO.id in await checked.plan()
    await checked.opened.confirmed(iban="NL20INGB0001234567", bic="INGBNL2A")
    assert world.NL_CPO.id not in await checked.plan()
    assert ("payee name check: not recorded", False) in await checked.holds()


async def test_bad_checks_are_refused_by_field_and_by_caller(checked: Checked) -> None:
    for changes, pointer in (
        ({"result": "match"}, "/result"),
        ({"checked_on": "2027-01-01"}, "/checked_on"),
        ({"kind": "payee_name", "result": "match", "bank_details_version": 9}, "/bank_details_version"),
        ({"kind": "payee_name", "result": "close_match", "bank_details_version": 9}, "/note"),
    ):
        problem = await checked.record(status=400, **changes)
        assert problem["errors"][0]["pointer"] == pointer
    await checked.record("cpo", status=403)
    assert (await checked.call("GET", CHECKS, party="other")).status == 404
    gone = f"{CHECKS}/pck_01jd2w3x4y5z6a7b8c9d0e1f2g/confirm"
    assert (await checked.call("POST", gone, {"note": "x"}, party="ben")).status == 404


async def test_a_check_of_the_command_line_ends_the_hold_at_the_next_plan(
    checked: Checked, database_url: str
) -> None:
    await checked.plan()
    for kind in ALL_OF_A_CPO:
        done = await asyncio.to_thread(_payouts, database_url, *record_check(kind))
        assert done.returncode == 0, done.stderr
    assert world.NL_CPO.id in await checked.plan()
    assert all(lifted for _, lifted in await checked.holds())
    listed = await asyncio.to_thread(_payouts, database_url, "checks", "NL-ABC", "--json")
    assert [one["recorded_by"] for one in json.loads(listed.stdout)] == ["carla"] * 3


async def test_a_wrong_check_on_the_command_line_is_one_line_and_exit_2(
    checked: Checked, database_url: str
) -> None:
    del checked
    done = await asyncio.to_thread(_payouts, database_url, *record_check("payee_name"))
    assert done.returncode == 2
    assert "result: payee_name has one of close_match" in done.stderr


def record_check(kind: str) -> list[str]:
    said = ["--performed-by", "A. Jansen", "--checked-on", "2026-10-12", "--by", "carla"]
    return ["record-check", "NL-ABC", kind, "passed", *said]


def _payouts(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return networkcore("payouts", *arguments, database_url=database_url)


class Listed:
    """A list that a test changes."""

    def __init__(self, *names: str) -> None:
        self.published_on, self.names = date(2026, 10, 12), names

    def load(self) -> SanctionsList:
        entries = tuple(
            SanctionsEntry(id=f"EU.{number}", names=(name,)) for number, name in enumerate(self.names)
        )
        digest = hashlib.sha256("\n".join(self.names).encode()).hexdigest()
        return SanctionsList(published_on=self.published_on, digest=digest, entries=entries)


def screening(checked: Checked, listed: Listed) -> SanctionsScreeningJob:
    return SanctionsScreeningJob(
        pool=checked.opened.system.pool,
        clock=checked.api.clock,
        clearing=checked.opened.system.service,
        source=listed,
    )


async def of_screening(checked: Checked) -> list[str]:
    history = await checked.call("GET", CHECKS, party="reader")
    return [one["result"] for one in history.json["data"] if one["kind"] == "sanctions_screening"]


async def test_parties_are_screened_once_and_a_hit_holds_until_a_person_clears_it(payouts: PayoutApi) -> None:  # noqa: F811 - the fixture
    checked = Checked(payouts, required=False)
    listed = Listed("Zorp Testov", world.NL_CPO.name)
    assert await screening(checked, listed).run_once() > 1
    assert await screening(checked, listed).run_once() == 0
    assert await of_screening(checked) == ["failed"]
    assert world.NL_CPO.id not in await checked.plan()
    await checked.record("ben", kind="sanctions_screening", note="another company of that name")
    assert world.NL_CPO.id in await checked.plan()
    await screening(checked, Listed("Somebody Else", world.NL_CPO.name)).run_once()
    assert (await of_screening(checked))[0] == "passed"  # the same entry in a newer list
    await screening(checked, Listed("A. Nother", "Somebody Else", world.NL_CPO.name)).run_once()
    assert (await of_screening(checked))[0] == "failed"  # another entry of that name


async def test_a_new_account_holder_is_screened(payouts: PayoutApi) -> None:  # noqa: F811 - the fixture
    checked = Checked(payouts, required=False)
    job = screening(checked, Listed("Zorp Testov"))
    await job.run_once()
    assert await of_screening(checked) == ["passed"]
    await payouts.confirmed(name="Testov, Zorp")
    assert await job.run_once() == 1
    assert await of_screening(checked) == ["failed", "passed"]


async def test_a_list_that_is_too_old_records_nothing_and_is_logged(
    checked: Checked, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = Listed("Zorp Testov")
    listed.published_on = checked.api.clock.now().date() - timedelta(days=31)
    assert await screening(checked, listed).run_once() == 0
    assert "sanctions_list_too_old" in capsys.readouterr().out
