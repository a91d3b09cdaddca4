"""Parties over HTTP: one name in the gateway and in clearing, and bodies that may be left out."""

from typing import Any

from gateway.database import Pool
from tests.fakes.api import Api, open_api
from tests.fakes.parties import party_body

PARTY = party_body("NL-XYZ", name="XYZ Charging B.V.", country="NL", time_zone="Europe/Amsterdam")


async def save(api: Api, **changes: Any) -> Any:
    answer = await api.call("POST", "/v1/parties", PARTY | changes, party="admin")
    assert answer.status in {201, 409}, answer.text
    return answer


async def test_a_renewed_name_reaches_the_gateway_and_clearing(pool: Pool) -> None:
    async with open_api(pool) as api:
        await save(api)
        renamed = await save(api, name="XYZ Mobility B.V.")
        assert renamed.json["name"] == "XYZ Mobility B.V."
        shown = (await api.call("GET", "/v1/parties/NL-XYZ", party="admin")).json
        assert shown == renamed.json
        assert (await api.services.parties.load_terms("NL-XYZ")).name == "XYZ Mobility B.V."


async def test_a_party_never_changes_its_kind(pool: Pool) -> None:
    async with open_api(pool) as api:
        await save(api)
        answer = await save(api, kind="demand_partner", name="Another")
        assert (answer.status, answer.json["code"]) == (409, "already_exists")
        assert (await api.services.parties.get("NL-XYZ")).name == PARTY["name"]


async def test_what_a_renewal_leaves_out_stays_as_it_is(pool: Pool) -> None:
    registration = {"tax_jurisdiction": "DE", "vat_id": "DE136695976", "valid_from": "2026-01-01"}
    async with open_api(pool) as api:
        await save(api, vat_registrations=[registration], document_cadence="weekly")
        await save(api, name="XYZ Mobility B.V.")
        terms = await api.services.parties.load_terms("NL-XYZ")
        assert [one.vat_id for one in terms.vat_registrations] == ["DE136695976"]
        assert terms.document_cadence == "weekly"
        await save(api, vat_registrations=[])
        assert (await api.services.parties.load_terms("NL-XYZ")).vat_registrations == ()


async def test_a_body_that_may_be_left_out_has_its_defaults(pool: Pool) -> None:
    async with open_api(pool) as api:
        hook = {"url": "https://partner.example/hooks"}
        made = (await api.call("POST", "/v1/webhook-endpoints", hook)).json
        rotated = await api.call("POST", f"/v1/webhook-endpoints/{made['id']}/rotate-secret")
        assert rotated.status == 200
        assert rotated.json["secret"] != made["secret"]
