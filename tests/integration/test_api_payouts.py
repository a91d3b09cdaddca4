"""Payouts over HTTP: terms, holds, bank details, releases by two, files and the bank's messages."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from clearing.payouts.disbursement import Disbursement
from gateway.database import Pool, transaction
from gateway.ids import format_id
from tests.fakes import bank
from tests.fakes import clearing_fixtures as world
from tests.fakes.api import Api, open_api
from tests.fakes.parties import add_parties, party_body
from tests.integration.test_bank_files import ACCOUNT, states
from tests.integration.test_disbursements import NOW, THURSDAY, System, of

IBAN = "NL91ABNA0417164300"
DETAILS: dict[str, Any] = {
    "name": "NL-ABC B.V.",
    "iban": "NL91 ABNA 0417 1643 00",
    "bic": "ABNANL2A",
    "address": {"street": "Kade", "building": "1", "town": "Amsterdam", "country": "NL"},
}
QR_IBAN = "CH4431999123000889012"
PARTY = "/v1/parties/NL-ABC"


class PayoutApi:
    """The API on a database with one cleared session, and a key for each person and party."""

    def __init__(self, system: System, api: Api) -> None:
        self.system, self.api, self.call = system, api, api.call

    async def key(self, name: str, *, party: str, scopes: list[str], by: str = "admin") -> str:
        made = await self.call("POST", f"/v1/parties/{party}/api-keys", {"scopes": scopes}, party=by)
        assert made.status == 201, made.text
        self.api.keys[name] = made.json["api_key"]
        return str(made.json["id"])

    async def planned(self) -> Disbursement:
        self.api.clock.at = THURSDAY
        return of(await self.system.plan(THURSDAY), world.NL_CPO)

    async def confirmed(self, **changes: Any) -> None:
        made = await self.call("POST", f"{PARTY}/bank-details", {**DETAILS, **changes}, party="anna")
        assert made.status == 201, made.text
        where = f"{PARTY}/bank-details/{made.json['version']}/approve"
        done = await self.call("POST", where, party="ben")
        assert done.status == 200, done.text

    async def events(self, party: str = "NL-ABC") -> list[str]:
        async with self.system.pool.acquire() as connection:
            found = await connection.fetch(
                "SELECT type FROM gateway.event WHERE party_id = $1 ORDER BY created_at, id", party
            )
        return [row["type"] for row in found]

    async def sent(self) -> tuple[Disbursement, str]:
        """A payment that is in a file."""
        await self.confirmed()
        payment = await self.planned()
        rail = self.system.service.bank_transfers(debtor=ACCOUNT)
        async with transaction(self.system.pool) as connection:
            file = (
                await rail.create_payment_file(connection, execution_date=THURSDAY.date(), now=THURSDAY)
            ).file
        assert file is not None
        return payment, file.message_id


@pytest.fixture
async def payouts(pool: Pool) -> AsyncIterator[PayoutApi]:
    system = System(pool)
    await system.open()
    async with transaction(pool) as connection:
        await add_parties(connection, {one.id: one.kind.value for one in world.PARTIES.values()})
    await system.clear(1)
    async with open_api(pool) as api:
        api.clock.at = NOW
        opened = PayoutApi(system, api)
        for person in ("anna", "ben"):
            await opened.key(person, party="platform", scopes=["admin"])
        await opened.key("cpo", party="NL-ABC", scopes=["settlement:read", "settlement:write"])
        await opened.key("reader", party="NL-ABC", scopes=["settlement:read"])
        await opened.key("other", party="superapp", scopes=["settlement:read", "settlement:write"])
        yield opened


# Terms


async def test_terms_are_agreed_by_the_platform_and_read_by_their_party(payouts: PayoutApi) -> None:
    terms = {
        "cadence": "weekly",
        "cadence_day": 5,
        "reserve_basis_points": 500,
        "reserve_days": 30,
        "approval_above": 300,
        "instant_up_to": 100_000,
    }
    put = await payouts.call("PUT", f"{PARTY}/payout-terms", terms, party="anna", key="k1")
    assert put.status == 200, put.text
    read = await payouts.call("GET", f"{PARTY}/payout-terms", party="reader")
    assert read.json == put.json
    assert {name: read.json[name] for name in terms} == terms
    assert (read.json["paid_by"], read.json["held"]) == ("psp", False)
    again = await payouts.call("PUT", f"{PARTY}/payout-terms", terms, party="anna", key="k1")
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"cadence": "hourly"}, "/cadence"),
        ({"cadence_day": 0}, "/cadence_day"),
        ({"reserve_basis_points": 10_001}, "/reserve_basis_points"),
        ({"reserve_days": 367}, "/reserve_days"),
        ({"approval_above": -1}, "/approval_above"),
        ({"instant_up_to": 0}, "/instant_up_to"),
        ({"approval_above": 1.5}, "/approval_above"),
        ({"relase_above": 1}, "/relase_above"),
        ({"deregistered_on": "soon"}, "/deregistered_on"),
        ({"cadence": "weekly", "cadence_day": 8}, None),
        ({"reserve_basis_points": 5}, None),
    ],
)
async def test_terms_that_make_no_sense_are_named(payouts: PayoutApi, body: Any, pointer: str | None) -> None:
    answer = await payouts.call("PUT", f"{PARTY}/payout-terms", body, party="anna")
    assert (answer.status, answer.json["code"]) == (400, "invalid_parameters"), answer.text
    if pointer is not None:
        assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize("path", ["payout-terms", "payout-holds", "bank-details"])
async def test_another_partys_payout_data_is_not_found(payouts: PayoutApi, path: str) -> None:
    for party in ("other", "parking"):
        if party == "other":
            assert (await payouts.call("GET", f"{PARTY}/{path}", party=party)).status == 404
    assert (await payouts.call("GET", f"/v1/parties/nobody/{path}", party="anna")).status == 404
    assert (await payouts.call("GET", f"{PARTY}/{path}", party=None)).status == 401


async def test_a_party_changes_nothing_but_its_own_bank_details(payouts: PayoutApi) -> None:
    for method, path, body in (
        ("PUT", f"{PARTY}/payout-terms", {}),
        ("POST", f"{PARTY}/payout-holds", {"reason": "x"}),
        ("POST", f"{PARTY}/bank-details/1/approve", None),
        ("POST", f"{PARTY}/bank-details/1/reject", None),
        ("GET", "/v1/disbursement-approvals", None),
        ("GET", "/v1/payment-files", None),
        ("GET", "/v1/bank-messages", None),
        ("POST", "/v1/payables/reschedule", {"reason": "x"}),
    ):
        answer = await payouts.call(method, path, body, party="cpo")
        assert (answer.status, answer.json["code"]) == (403, "missing_scope"), path
    assert (await payouts.call("POST", f"{PARTY}/bank-details", DETAILS, party="reader")).status == 403
    assert (await payouts.call("POST", f"{PARTY}/bank-details", DETAILS, party="other")).status == 404


# Holds


async def test_a_hold_stops_what_was_planned_and_lifting_it_lets_it_be_planned_again(
    payouts: PayoutApi,
) -> None:
    payment = await payouts.planned()
    held = await payouts.call("POST", f"{PARTY}/payout-holds", {"reason": "court order 12/26"}, party="anna")
    assert (held.status, held.json["since"], held.json["until"]) == (201, "2026-10-15", None)
    assert held.json["placed_by"].startswith("nck_")
    assert (await states(payouts.system))["NL-ABC"] == "cancelled"
    shown = await payouts.call("GET", f"/v1/disbursements/{format_id('dis', payment.id)}", party="cpo")
    assert shown.json["state"] == "cancelled"
    assert "court order" in shown.json["failure_reason"]
    again = await payouts.call("POST", f"{PARTY}/payout-holds", {"reason": "court order 12/26"}, party="ben")
    assert again.json["id"] == held.json["id"]
    listed = (await payouts.call("GET", f"{PARTY}/payout-holds", party="reader")).json["data"]
    assert [one["id"] for one in listed] == [held.json["id"]]
    lifted = await payouts.call("DELETE", f"{PARTY}/payout-holds/{held.json['id']}", party="anna")
    assert (lifted.status, lifted.json["lifted"] is not None) == (200, True)
    twice = await payouts.call("DELETE", f"{PARTY}/payout-holds/{held.json['id']}", party="anna")
    assert (twice.status, twice.json["code"]) == (409, "state_conflict")
    assert await payouts.events() == ["payout_hold.placed", "disbursement.cancelled", "payout_hold.lifted"]
    assert (await payouts.planned()).amount_minor == payment.amount_minor
    await payouts.system.proved()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/reason"),
        ({"reason": ""}, "/reason"),
        ({"reason": "  "}, "/reason"),
        ({"reason": "a\u0000b"}, "/reason"),
        ({"reason": "x", "since": "2026-10-15", "until": "2026-10-15"}, "/until"),
        ({"reason": "x", "since": "2026-13-01"}, "/since"),
        ({"reason": "x", "by": "anna"}, "/by"),
    ],
)
async def test_a_hold_without_sense_is_named(payouts: PayoutApi, body: Any, pointer: str) -> None:
    answer = await payouts.call("POST", f"{PARTY}/payout-holds", body, party="anna")
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (400, pointer), answer.text


async def test_a_hold_of_another_party_is_not_lifted_under_this_one(payouts: PayoutApi) -> None:
    held = await payouts.call("POST", f"{PARTY}/payout-holds", {"reason": "x"}, party="anna")
    for path in (
        f"/v1/parties/superapp/payout-holds/{held.json['id']}",
        f"{PARTY}/payout-holds/hld_nonsense",
    ):
        assert (await payouts.call("DELETE", path, party="anna")).status == 404


# Bank details


async def test_bank_details_wait_for_a_second_principal_and_are_shown_masked(payouts: PayoutApi) -> None:
    await payouts.planned()
    made = await payouts.call("POST", f"{PARTY}/bank-details", DETAILS, party="cpo", key="b1")
    assert (made.status, made.json["state"], made.json["iban"]) == (201, "pending", "NL91...4300")
    assert (await states(payouts.system))["NL-ABC"] == "cancelled"
    where = f"{PARTY}/bank-details/1"
    done = await payouts.call("POST", f"{where}/approve", party="anna")
    assert (done.status, done.json["state"]) == (200, "approved")
    twice = await payouts.call("POST", f"{where}/approve", party="ben")
    assert (twice.status, twice.json["code"]) == (409, "state_conflict")
    read = await payouts.call("GET", f"{PARTY}/bank-details", party="reader")
    assert [one["state"] for one in read.json["data"]] == ["approved"]
    assert (await payouts.call("GET", f"{PARTY}/payout-terms", party="cpo")).json["paid_by"] == "bank"
    assert (await payouts.planned()).destination == IBAN
    assert await payouts.events() == [
        "bank_details.submitted",
        "disbursement.cancelled",
        "bank_details.approved",
    ]
    async with payouts.system.pool.acquire() as connection:
        for table in ("gateway.event", "gateway.idempotency_key"):
            rows = await connection.fetch(f"SELECT t::text AS row FROM {table} AS t")  # noqa: S608 - fixed names
            assert IBAN not in "".join(row["row"] for row in rows)


async def test_who_submitted_does_not_confirm_under_any_key_of_theirs(payouts: PayoutApi) -> None:
    made = await payouts.call("POST", f"{PARTY}/bank-details", DETAILS, party="anna")
    where = f"{PARTY}/bank-details/{made.json['version']}/approve"
    key_id = await payouts.key("annas-second", party="platform", scopes=["admin"], by="anna")
    rotated = await payouts.call(
        "POST", f"/v1/parties/platform/api-keys/{key_id}/rotate", party="annas-second"
    )
    payouts.api.keys["rotated"] = rotated.json["api_key"]
    keys = (await payouts.call("GET", "/v1/parties/platform/api-keys", party="admin")).json["data"]
    annas, bens = keys[0], keys[1]
    assert [key["principal"] for key in keys] == [annas["prefix"], bens["prefix"], *2 * [annas["prefix"]]]
    seized = await payouts.call("POST", f"/v1/parties/platform/api-keys/{bens['id']}/rotate", party="anna")
    payouts.api.keys["seized"] = seized.json["api_key"]
    for mine in ("anna", "annas-second", "rotated", "seized"):
        rejected = await payouts.call("POST", where, party=mine)
        assert (rejected.status, rejected.json["code"]) == (409, "state_conflict"), mine
    assert (await payouts.call("POST", where, party="ben")).status == 200


async def test_rejected_details_leave_the_account_as_it_was(payouts: PayoutApi) -> None:
    await payouts.confirmed()
    other = await payouts.call(
        "POST", f"{PARTY}/bank-details", {**DETAILS, "iban": "NL20INGB0001234567", "bic": None}, party="cpo"
    )
    rejected = await payouts.call(
        "POST", f"{PARTY}/bank-details/{other.json['version']}/reject", party="anna"
    )
    assert rejected.json["state"] == "rejected"
    assert (await payouts.planned()).destination == IBAN
    assert (await payouts.call("POST", f"{PARTY}/bank-details/9/reject", party="anna")).status == 404
    assert (await payouts.call("POST", f"{PARTY}/bank-details/x/reject", party="anna")).status == 404


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"iban": "NL91ABNA0417164301"}, "/iban"),
        ({"iban": "NL91"}, "/iban"),
        ({"bic": "DEUTDEFF"}, "/bic"),
        ({"bic": "ABNA"}, "/bic"),
        ({"name": ""}, "/name"),
        ({"name": " "}, "/name"),
        ({"address": {"town": " ", "country": "NL"}}, "/address/town"),
        ({"address": {"town": "A", "country": "Netherlands"}}, "/address/country"),
        ({"address": {"country": "NL"}}, "/address/town"),
        ({"reference": "RF00539007547034"}, "/reference"),
        ({"reference": "123"}, "/reference"),
        ({"iban": QR_IBAN, "bic": None}, "/reference"),
        ({"reference": "210000000003139471430009017"}, "/reference"),
    ],
)
async def test_wrong_bank_details_are_named_and_never_repeated_whole(
    payouts: PayoutApi, changes: dict[str, Any], pointer: str
) -> None:
    answer = await payouts.call("POST", f"{PARTY}/bank-details", {**DETAILS, **changes}, party="cpo")
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (400, pointer), answer.text
    assert str(changes.get("iban", IBAN)) not in answer.text or len(str(changes.get("iban", IBAN))) < 5


async def test_a_qr_iban_is_paid_with_its_reference(payouts: PayoutApi) -> None:
    swiss = replace(world.NL_CPO, country="CH", tax_jurisdiction="NL")
    assert swiss.country == "CH"
    await payouts.confirmed(
        iban=QR_IBAN,
        bic=None,
        reference="21 00000 00003 13947 14300 09017",
        address={"town": "Zug", "country": "CH"},
    )
    await payouts.planned()
    rail = payouts.system.service.bank_transfers(debtor=ACCOUNT)
    async with transaction(payouts.system.pool) as connection:
        file = (await rail.create_payment_file(connection, execution_date=THURSDAY.date(), now=THURSDAY)).file
    assert file is not None
    assert b"<Prtry>QRR</Prtry></CdOrPrtry></Tp><Ref>210000000003139471430009017</Ref>" in file.content


@pytest.mark.parametrize(("limit", "instant"), [(None, False), (399, False), (400, True)])
async def test_a_payment_up_to_the_agreed_amount_goes_as_sepa_instant(
    payouts: PayoutApi, limit: int | None, *, instant: bool
) -> None:
    put = await payouts.call("PUT", f"{PARTY}/payout-terms", {"instant_up_to": limit}, party="anna")
    assert put.status == 200
    await payouts.sent()
    (file,) = (await payouts.call("GET", "/v1/payment-files", party="anna")).json["data"]
    content = (await payouts.call("GET", f"/v1/payment-files/{file['id']}", party="anna")).content
    assert (b"<Cd>INST</Cd>" in content) is instant


async def test_another_connected_account_is_paid_once_a_second_principal_agrees(payouts: PayoutApi) -> None:
    party = party_body(
        "NL-ABC",
        name="NL-ABC Ltd",
        country="NL",
        time_zone="Europe/Amsterdam",
        connected_account="acct_NL-ABC",
    )
    await payouts.planned()
    assert (await payouts.call("POST", "/v1/parties", party, party="anna")).status == 201  # the same account
    assert (await states(payouts.system))["NL-ABC"] == "planned"
    for account in (None, "acct_other"):  # also by way of none
        renewed = await payouts.call(
            "POST", "/v1/parties", {**party, "connected_account": account}, party="anna"
        )
        assert renewed.status == 201, renewed.text
    assert (await states(payouts.system))["NL-ABC"] == "cancelled"
    assert [one for one in await payouts.system.plan(THURSDAY) if one.party_id == "NL-ABC"] == []
    (hold,) = (await payouts.call("GET", f"{PARTY}/payout-holds", party="cpo")).json["data"]
    where = f"{PARTY}/payout-holds/{hold['id']}"
    assert (await payouts.call("DELETE", where, party="anna")).status == 409
    assert (await payouts.call("DELETE", where, party="ben")).status == 200
    assert (await payouts.planned()).destination == "acct_other"
    assert (await payouts.events())[:2] == ["payout_hold.placed", "disbursement.cancelled"]


# Release by two


async def test_a_large_payment_is_released_by_two_principals(payouts: PayoutApi) -> None:
    await payouts.call("PUT", f"{PARTY}/payout-terms", {"approval_above": 300}, party="anna")
    payment = await payouts.planned()
    path = f"/v1/disbursements/{format_id('dis', payment.id)}/approve"
    (waiting,) = (await payouts.call("GET", "/v1/disbursement-approvals", party="ben")).json["data"]
    assert (waiting["disbursement"], waiting["amount"], waiting["needed"], waiting["by"]) == (
        format_id("dis", payment.id),
        400,
        2,
        [],
    )
    await payouts.key("annas-second", party="platform", scopes=["admin"], by="anna")
    for who, count in (("anna", 1), ("anna", 1), ("annas-second", 1), ("ben", 2), ("ben", 2)):
        answer = await payouts.call("POST", path, party=who)
        assert (answer.status, answer.json["approvals"]) == (200, count), (who, answer.text)
    assert await payouts.system.begin(payment, THURSDAY) is not None
    assert (await payouts.call("GET", "/v1/disbursement-approvals", party="ben")).json["data"] == []
    assert await payouts.events() == ["disbursement.approved"]
    late = await payouts.call("POST", path, party="admin")
    assert (late.status, late.json["code"]) == (409, "state_conflict")


@pytest.mark.parametrize(("after", "held"), [(None, True), (400, True), (300, False), (299, False)])
async def test_nobody_raises_the_limit_of_release_alone(
    payouts: PayoutApi, after: int | None, *, held: bool
) -> None:
    await payouts.call("PUT", f"{PARTY}/payout-terms", {"approval_above": 300}, party="anna")
    payment = await payouts.planned()
    put = await payouts.call("PUT", f"{PARTY}/payout-terms", {"approval_above": after}, party="anna")
    assert (put.status, put.json["held"]) == (200, held), put.text
    holds = (await payouts.call("GET", f"{PARTY}/payout-holds", party="anna")).json["data"]
    assert len(holds) == held
    assert await payouts.system.begin(payment, THURSDAY) is None
    if held:
        where = f"{PARTY}/payout-holds/{holds[0]['id']}"
        assert (await payouts.call("DELETE", where, party="anna")).status == 409
        assert (await payouts.call("DELETE", where, party="ben")).status == 200
        assert (await payouts.planned()).approvals_needed == 0


@pytest.mark.parametrize("placed_by", ["anna", "ben"])
async def test_a_hold_with_the_same_words_never_stands_in_for_one_that_needs_another_person(
    payouts: PayoutApi, placed_by: str
) -> None:
    await payouts.call("PUT", f"{PARTY}/payout-terms", {"approval_above": 300}, party="anna")
    words = "payments that two had to release would need none: to be agreed by another person"
    payouts.api.clock.at = THURSDAY
    placed = await payouts.call("POST", f"{PARTY}/payout-holds", {"reason": words}, party=placed_by)
    assert placed.status == 201, placed.text
    await payouts.call("PUT", f"{PARTY}/payout-terms", {"approval_above": None}, party="anna")
    holds = (await payouts.call("GET", f"{PARTY}/payout-holds", party="anna")).json["data"]
    for hold in holds:
        await payouts.call("DELETE", f"{PARTY}/payout-holds/{hold['id']}", party="anna")
    terms = await payouts.call("GET", f"{PARTY}/payout-terms", party="anna")
    assert terms.json["held"] is True
    for hold in holds:
        await payouts.call("DELETE", f"{PARTY}/payout-holds/{hold['id']}", party="ben")
    assert (await payouts.call("GET", f"{PARTY}/payout-terms", party="anna")).json["held"] is False


async def test_a_second_change_of_the_same_day_is_not_agreed_to_by_who_made_it(payouts: PayoutApi) -> None:
    for who, limit in (("anna", 300), ("anna", 400), ("ben", None)):  # ben goes further than anna
        await payouts.call("PUT", f"{PARTY}/payout-terms", {"approval_above": limit}, party=who)
    for hold in (await payouts.call("GET", f"{PARTY}/payout-holds", party="ben")).json["data"]:
        await payouts.call("DELETE", f"{PARTY}/payout-holds/{hold['id']}", party="ben")
    assert (await payouts.call("GET", f"{PARTY}/payout-terms", party="ben")).json["held"] is True


async def test_a_limit_that_was_lowered_holds_for_what_was_planned_before(payouts: PayoutApi) -> None:
    payment = await payouts.planned()  # of 400
    await payouts.call("PUT", f"{PARTY}/payout-terms", {"approval_above": 399}, party="anna")
    assert await payouts.system.begin(payment, THURSDAY) is None
    assert (await states(payouts.system))["NL-ABC"] == "cancelled"
    assert (await payouts.planned()).approvals_needed == 2


async def test_what_needs_no_release_or_is_unknown_is_rejected(payouts: PayoutApi) -> None:
    payment = await payouts.planned()
    known = f"/v1/disbursements/{format_id('dis', payment.id)}/approve"
    unknown = "/v1/disbursements/dis_00000000000000000000000000/approve"
    assert (await payouts.call("POST", known, party="anna")).status == 409
    assert (await payouts.call("POST", unknown, party="anna")).status == 404
    named = await payouts.call("POST", known, {"approver": "ben"}, party="anna")
    assert (named.status, named.json["errors"][0]["pointer"]) == (400, "/approver")  # never a typed name


# Returns by hand, days counted again


async def test_a_return_by_hand_is_owed_again_once_another_lifts_its_hold(payouts: PayoutApi) -> None:
    payment = await payouts.system.pay(await payouts.planned(), THURSDAY)
    path = f"/v1/disbursements/{format_id('dis', payment.id)}/return"
    for _ in range(2):
        answer = await payouts.call("POST", path, {"reason": "letter of the bank"}, party="anna")
        assert (answer.status, answer.json["state"]) == (200, "returned"), answer.text
    (hold,) = (await payouts.call("GET", f"{PARTY}/payout-holds", party="anna")).json["data"]
    where = f"{PARTY}/payout-holds/{hold['id']}"
    assert (await payouts.call("DELETE", where, party="anna")).json["code"] == "state_conflict"
    assert (await payouts.call("DELETE", where, party="ben")).status == 200
    assert await payouts.events() == ["disbursement.returned", "payout_hold.placed", "payout_hold.lifted"]
    await payouts.system.proved()


async def test_what_was_never_paid_does_not_come_back(payouts: PayoutApi) -> None:
    payment = await payouts.planned()
    path = f"/v1/disbursements/{format_id('dis', payment.id)}/return"
    assert (await payouts.call("POST", path, {"reason": "x"}, party="anna")).status == 409
    assert (await payouts.call("POST", path, {}, party="anna")).status == 400


async def test_days_are_counted_again_with_a_reason(payouts: PayoutApi) -> None:
    put = await payouts.call(
        "PUT", f"{PARTY}/payout-terms", {"cadence": "weekly", "cadence_day": 7}, party="anna"
    )
    assert put.status == 200
    moved = await payouts.call(
        "POST", "/v1/payables/reschedule", {"reason": "weekly from now on"}, party="anna"
    )
    assert (moved.status, moved.json["moved"]) == (200, 1), moved.text
    (line,) = (await payouts.call("GET", "/v1/forecast?days=30", party="cpo")).json["data"]
    assert line["due_date"] == "2026-10-20"
    assert (await payouts.call("POST", "/v1/payables/reschedule", {"reason": ""}, party="anna")).status == 400


# Files and messages


async def test_a_file_is_downloaded_marked_and_answered_over_http(payouts: PayoutApi) -> None:
    payment, message_id = await payouts.sent()
    (file,) = (await payouts.call("GET", "/v1/payment-files", party="anna")).json["data"]
    assert (file["id"], file["payments"], file["control_sum"], file["sent"]) == (message_id, 1, "4.00", None)
    got = await payouts.call("GET", f"/v1/payment-files/{message_id}", party="anna")
    assert (got.headers["Content-Type"], got.headers["X-Content-SHA256"]) == (
        "application/xml",
        file["sha256"],
    )
    assert payment.end_to_end_id in got.text
    for _ in range(2):
        assert (
            await payouts.call("POST", f"/v1/payment-files/{message_id}/mark-sent", party="anna")
        ).status == 204
    (file,) = (await payouts.call("GET", "/v1/payment-files", party="anna")).json["data"]
    assert file["sent"] is not None
    for path in ("/v1/payment-files/NONE", "/v1/payment-files/NONE/mark-sent"):
        method = "POST" if path.endswith("sent") else "GET"
        assert (await payouts.call(method, path, party="anna")).status == 404

    xml = {"Content-Type": "application/xml"}
    terms = bank.entry("4.00", bank.detail(payment.end_to_end_id, "4.00"))
    for repeated in (False, True):
        answer = await payouts.call(
            "POST", "/v1/bank-messages", bank.statement(terms), party="anna", headers=xml
        )
        assert (answer.status, answer.json["repeated"]) == (202, repeated), answer.text
        assert (answer.json["kind"], answer.json["settled"], answer.json["new_lines"]) == ("camt.053", 1, 1)
    assert (await states(payouts.system))["NL-ABC"] == "paid"
    assert (await payouts.events())[-1] == "disbursement.paid"
    listed = (await payouts.call("GET", "/v1/bank-messages?state=imported", party="ben")).json["data"]
    assert [one["id"] for one in listed] == [answer.json["id"]]
    await payouts.system.proved()


@pytest.mark.parametrize(
    ("content", "terms"),
    [
        (b"", "not well-formed"),
        (b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a>&e;</a>", "document type"),
        (b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08'/>", "expected pain.002"),
        (bank.status_report("NCOTHER", group="ACSC"), "there is no payment file with the message id"),
    ],
)
async def test_a_message_that_cannot_be_worked_in_is_rejected_and_kept(
    payouts: PayoutApi, content: bytes, terms: str
) -> None:
    answer = await payouts.call(
        "POST", "/v1/bank-messages", content, party="anna", headers={"Content-Type": "application/xml"}
    )
    assert (answer.status, answer.json["code"]) == (422, "bank_message_rejected"), answer.text
    assert terms in answer.json["detail"]
    (kept,) = (await payouts.call("GET", "/v1/bank-messages?state=rejected", party="anna")).json["data"]
    assert terms in kept["reason"]
    assert await payouts.events("platform") == ["bank_message.rejected"]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_message_is_xml_and_of_bounded_size(payouts: PayoutApi) -> None:
    wrong = await payouts.call("POST", "/v1/bank-messages", {"a": 1}, party="anna")
    assert (wrong.status, wrong.json["code"]) == (415, "unsupported_media_type")
    xml = {"Content-Type": "application/xml"}
    big = await payouts.call("POST", "/v1/bank-messages", b"<a>" * 400_000, party="anna", headers=xml)
    assert (big.status, big.json["code"]) == (413, "body_too_large")


async def test_the_document_describes_the_bodies_that_are_no_json(payouts: PayoutApi) -> None:
    paths = (await payouts.call("GET", "/openapi.json", party=None)).json["paths"]
    accepted = paths["/v1/bank-messages"]["post"]["requestBody"]["content"]
    given = paths["/v1/payment-files/{id}"]["get"]["responses"]["200"]["content"]
    assert list(accepted) == list(given) == ["application/xml"]
