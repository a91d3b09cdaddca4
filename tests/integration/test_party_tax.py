"""VAT ids over the API, and sessions paid from an eMSP's account: what clearing makes of them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import new_id
from gateway.jobs.clearing import ClearingJob
from gateway.payments.quotes import Estimate
from gateway.payments.requests import AuthorizationRequest, PartnerAccount
from tests.fakes.api import EVSE, Api, cdr, open_api

PARTIES: dict[str, dict[str, Any]] = {
    "platform": {"kind": "platform", "country": "CH", "currency": "CHF", "vat_id": "CHE-107.787.577 MWST"},
    "DE-ABC": {"kind": "cpo", "country": "DE", "currency": "EUR", "vat_id": "DE 136 695 976"},
    "parking": {"kind": "demand_partner", "country": "DE", "currency": "EUR", "vat_id": None},
    "volta": {"kind": "emsp", "country": "NL", "currency": "EUR", "vat_id": "004495445B01"},
}


def party(name: str, **changes: Any) -> dict[str, Any]:
    known = PARTIES[name]
    return {
        "id": name,
        "kind": known["kind"],
        "name": name,
        "country": known["country"],
        "vat_id": known["vat_id"],
        "taxable_dealer": name == "platform",
        "settlement_currency": known["currency"],
        "time_zone": "Europe/Zurich",
        **changes,
    }


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        await opened.services.clearing.reference_data.import_bundled_rates(pool, now=opened.clock.now())
        for name in PARTIES:
            made = await opened.call("POST", "/v1/parties", party(name), party="admin")
            assert made.status == 201, made.text
        yield opened


async def vat(api: Api, name: str) -> list[dict[str, Any]]:
    found = (await api.call("GET", f"/v1/parties/{name}/vat", party="admin")).json
    ids: list[dict[str, Any]] = found["ids"]
    return ids


async def test_an_id_is_kept_in_its_one_written_form(api: Api) -> None:
    assert [
        (one["tax_jurisdiction"], one["vat_id"], one["of_establishment"])
        for one in await vat(api, "platform")
    ] == [("CH", "CHE107787577MWST", True)]
    (dutch,) = await vat(api, "volta")
    assert dutch["vat_id"] == "NL004495445B01"
    assert [(one["valid"], one["source"]) for one in dutch["evidence"]] == [(True, "declared")]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"vat_id": "DE136695977"}, "vat_id: 'DE136695977' is not a VAT id of DE"),
        ({"vat_id": "NL004495445B01"}, "vat_id: 'NL004495445B01' is not a VAT id of DE"),
        (
            {
                "vat_registrations": [
                    {"tax_jurisdiction": "NL", "vat_id": "NL123", "valid_from": "2026-01-01"}
                ]
            },
            "vat_registrations[0].vat_id: 'NL123' is not a VAT id of NL",
        ),
        (
            {
                "vat_registrations": [
                    {"tax_jurisdiction": "QQ", "vat_id": "QQ123", "valid_from": "2026-01-01"}
                ]
            },
            "tax jurisdiction 'QQ' is not known",
        ),
        (
            {
                "vat_registrations": [
                    {"tax_jurisdiction": "DE", "vat_id": "DE136695976", "valid_from": "2026-01-01"}
                ]
            },
            "vat_registrations[0].tax_jurisdiction: DE is the place of establishment",
        ),
    ],
)
async def test_a_wrong_id_is_rejected_with_its_field(api: Api, changes: dict[str, Any], named: str) -> None:
    rejected = await api.call("POST", "/v1/parties", party("DE-ABC", **changes), party="admin")
    assert (rejected.status, rejected.json["code"]) == (400, "invalid_parameters")
    assert named in rejected.json["detail"]


async def test_renewing_terms_does_not_declare_an_id_good_that_a_register_rejected(api: Api) -> None:
    rejected = {"vat_evidence": [{"effective_from": "2026-10-01", "valid": False, "source": "VIES"}]}
    await api.call("POST", "/v1/parties", party("volta", **rejected), party="admin")
    await api.call("POST", "/v1/parties", party("volta", terms_days=5), party="admin")
    (dutch,) = await vat(api, "volta")
    assert dutch["evidence"][0]["source"] == "VIES"
    known = await api.services.clearing.reference_data.find_party(api.services.pool, "volta")
    assert known is not None
    assert known.terms_days == 5
    assert [one.source for one in known.vat_evidence].count("declared") == 1  # that of the beginning


async def test_registrations_are_shown_with_their_evidence(api: Api) -> None:
    german = {
        "tax_jurisdiction": "DE",
        "vat_id": "de136695976",
        "valid_from": "2026-01-01",
        "valid_to": "2026-12-31",
    }
    made = await api.call("POST", "/v1/parties", party("platform", vat_registrations=[german]), party="admin")
    assert made.status == 201, made.text
    established, elsewhere = await vat(api, "platform")
    assert (established["of_establishment"], elsewhere["of_establishment"]) == (True, False)
    assert (elsewhere["vat_id"], elsewhere["valid_to"]) == ("DE136695976", "2026-12-31")
    assert elsewhere["evidence"][0]["effective_from"] == "2026-01-01"
    # Renewing other terms leaves them; an empty list takes them away.
    await api.call("POST", "/v1/parties", party("platform", terms_days=3), party="admin")
    assert await vat(api, "platform") == [established, elsewhere]
    await api.call("POST", "/v1/parties", party("platform", vat_registrations=[]), party="admin")
    assert await vat(api, "platform") == [established]


async def test_an_app_on_top_of_an_emsp_is_cleared_from_the_emsps_account(api: Api, pool: Pool) -> None:
    shares = [
        {"role": "platform", "basis_points": 400},
        {"role": "demand_partner", "basis_points": 800},
        {"role": "emsp", "basis_points": 300},
    ]
    agreed = await api.call(
        "POST",
        "/v1/agreements",
        {
            "id": "a1",
            "cpo": "DE-ABC",
            "valid_from": "2026-01-01T00:00:00Z",
            "terms": {"legal_model": "reseller", "currency": "EUR", "shares": shares},
        },
        party="admin",
    )
    assert agreed.status == 201, agreed.text
    funded = await api.call(
        "POST",
        "/v1/partner-accounts/volta/EUR/fundings",
        {"amount": 5000, "reference": "bank-1"},
        party="admin",
        key="f1",
    )
    assert funded.status in {200, 201}, funded.text
    # What a contract of the app names: the app brings the driver, the eMSP's account pays.
    view = await api.services.payments.authorize(
        AuthorizationRequest(
            authorization_id=new_id(),
            party_id="parking",
            evse_id=EVSE,
            method="plug_and_charge",
            payment=PartnerAccount(party_id="volta"),
            estimate=Estimate(energy_wh=40_000, duration_s=3600),
        )
    )
    await api.services.payments.complete(
        party_id="platform", admin=True, session_id=view.session.id, cdr_raw=cdr(), cdr_version="2.2.1"
    )
    api.clock.pass_wall(5)
    job = ClearingJob(
        pool=pool, clock=api.clock, sessions=api.services.clearing.sessions, batch_size=10, chain=0
    )
    assert await job.run_once() == 1
    async with pool.acquire() as connection:
        moved = await connection.fetch(
            "SELECT account, credit_minor - debit_minor AS minor FROM clearing.account_delta "
            "WHERE account LIKE 'partner:%' OR account LIKE 'emsp:%'"
        )
    balances: dict[str, int] = {}
    for row in moved:
        balances[row["account"]] = balances.get(row["account"], 0) + row["minor"]
    # 20 kWh at 0.50 and 19 %: 11.90, of whose net of 10.00 the app has 8 % and the eMSP 3 %.
    assert balances == {
        "partner:volta:funds": 5000 - 1190,
        "partner:parking:payable": 80,
        "emsp:volta:payable": 30,
    }


async def test_a_renewed_name_is_seen_everywhere(api: Api) -> None:
    for name in ("parking", "Parking Berlin GmbH"):
        answer = await api.call("POST", "/v1/parties", party("parking") | {"name": name}, party="admin")
        assert (answer.status, answer.json["name"]) == (201, name)
    shown = (await api.call("GET", "/v1/parties/parking", party="admin")).json
    listed = (await api.call("GET", "/v1/parties", party="admin")).json["data"]
    async with api.services.pool.acquire() as connection:
        cleared = await api.services.clearing.reference_data.find_party(connection, "parking")
    assert cleared is not None
    names = {shown["name"], cleared.name, *(one["name"] for one in listed if one["id"] == "parking")}
    assert names == {"Parking Berlin GmbH"}


async def test_a_party_of_another_kind_keeps_its_name(api: Api) -> None:
    changed = party("parking") | {"kind": "cpo", "name": "Somebody else"}
    assert (await api.call("POST", "/v1/parties", changed, party="admin")).status == 409
    assert (await api.call("GET", "/v1/parties/parking", party="admin")).json["name"] != "Somebody else"
