"""Which authority may issue contracts: named per root, by its certificate's role, or not at all."""

from dataclasses import replace

import pytest

from gateway.database import Pool
from pnc import contract_authority_administration, trust_administration
from pnc.certificate import parse_certificate
from pnc.contract_authority import key_sha256
from pnc.errors import UnfitAuthorityError, UnfitContractError, UnknownRecordError
from pnc.rejection_reasons import RejectionReason
from pnc.trust import AnchorPurpose
from sandbox.pki.hierarchy import (
    ContractPki,
    Suite,
    authority_template,
    build_pki,
    issue,
    new_key,
    root_template,
)
from tests.fakes.pnc_market import CHANGE, NOW, OCSP_URL, Market, contract, open_market

MO_ROOT, V2G_ROOT = AnchorPurpose.MO_ROOT, AnchorPurpose.V2G_ROOT


def shared_pki(role: str | None) -> ContractPki:
    """A V2G root, whose sub-authorities have the role `role`, as deployed ones do."""
    plain = build_pki(suite=Suite.P256, now=NOW, ocsp_url=OCSP_URL)
    root = issue(
        root_template("V2G Root", now=NOW, domain_component="V2G"), issuer=None, key=new_key(plain.suite)
    )
    above = root
    found = []
    for number, length in ((1, 1), (2, 0)):
        template = authority_template(f"Sub {number}", now=NOW, path_length=length, ocsp_url=OCSP_URL)
        above = issue(replace(template, domain_component=role), issuer=above, key=new_key(plain.suite))
        found.append(above)
    return replace(plain, root=root, first=found[0], second=found[1])


async def allow(pool: Pool, anchor: str, authority: str) -> str:
    async with pool.acquire() as connection:
        return await contract_authority_administration.allow_contract_authority(
            connection, environment="live", anchor=anchor, authority=authority, change=CHANGE
        )


async def remove(pool: Pool, anchor: str, key: str) -> None:
    async with pool.acquire() as connection:
        await contract_authority_administration.remove_contract_authority(
            connection, environment="live", anchor=anchor, key=key, change=CHANGE
        )


async def anchor_of(pool: Pool) -> str:
    (anchor,) = await trust_administration.list_anchors(pool, environment="live")
    return str(anchor["sha256"])


async def finding(market: Market, ref: str) -> RejectionReason | None:
    answer = await market.ask(market.pem_request(), session_ref=ref)
    return answer.decision.rejection_reason


@pytest.mark.parametrize("role", ["V2G", None])
async def test_below_a_shared_root_only_named_authorities_issue_contracts(
    pool: Pool, role: str | None
) -> None:
    market = await open_market(pool, pki=shared_pki(role), purpose=V2G_ROOT)
    anchor = await anchor_of(pool)
    assert await finding(market, "a") is RejectionReason.AUTHORITY_NOT_ALLOWED
    key = await allow(pool, anchor, market.pki.first.pem)
    assert await finding(market, "b") is None
    await remove(pool, anchor, key)
    other = build_pki(suite=Suite.P256, now=NOW)
    await allow(pool, anchor, other.first.pem)
    assert await finding(market, "c") is RejectionReason.AUTHORITY_NOT_ALLOWED


async def test_where_none_is_named_a_registered_certificate_charges_with_a_warning(pool: Pool) -> None:
    market = await open_market(pool, pki=shared_pki(None), purpose=V2G_ROOT)
    await market.put(contract(bundle=market.pki.bundle(market.leaf)))
    for ref, request in (("a", market.pem_request()), ("b", market.hash_request())):
        answer = await market.ask(request, session_ref=ref)
        assert answer.decision.payment_needed
        assert "no authority is named" in answer.decision.notes


async def test_where_others_are_named_a_certificate_of_an_unnamed_authority_is_not_registered(
    pool: Pool,
) -> None:
    market = await open_market(pool, pki=shared_pki("V2G"), purpose=V2G_ROOT)
    await allow(pool, await anchor_of(pool), build_pki(suite=Suite.P256, now=NOW).first.pem)
    with pytest.raises(UnfitContractError, match="may issue contracts"):
        await market.put(contract(bundle=market.pki.bundle(market.leaf)))


async def test_by_default_the_role_of_the_certificate_decides_below_a_shared_root(pool: Pool) -> None:
    market = await open_market(pool, pki=shared_pki("MO"), purpose=V2G_ROOT)
    assert await finding(market, "a") is None


@pytest.mark.parametrize("role", ["V2G", "MO", None])
async def test_below_a_mobility_operators_root_every_authority_issues_contracts(
    pool: Pool, role: str | None
) -> None:
    market = await open_market(pool, pki=shared_pki(role), purpose=MO_ROOT)
    assert await finding(market, "a") is None


@pytest.mark.parametrize("role", ["CPO", "CPS", "OEM", "mo"])
async def test_an_authority_of_another_role_issues_none_even_when_it_is_named(pool: Pool, role: str) -> None:
    market = await open_market(pool, pki=shared_pki(role), purpose=V2G_ROOT)
    await allow(pool, await anchor_of(pool), market.pki.second.pem)
    assert await finding(market, "a") is RejectionReason.WRONG_DOMAIN_COMPONENT


async def test_an_authority_is_named_by_its_certificate_or_by_ocpps_key_hash_and_on_the_record(
    pool: Pool,
) -> None:
    market = await open_market(pool, pki=shared_pki("V2G"), purpose=V2G_ROOT)
    anchor = await anchor_of(pool)
    named = market.hash_entry(market.leaf)["issuerKeyHash"]
    assert key_sha256(parse_certificate(market.pki.second.der)).hex() == named
    assert await allow(pool, anchor, named) == named
    assert await allow(pool, anchor, market.pki.second.pem) == named  # named already: unchanged
    assert await finding(market, "a") is None
    (listed,) = await contract_authority_administration.list_contract_authorities(pool, environment="live")
    assert (listed["anchor"], listed["key_sha256"], listed["subject"]) == (anchor, named, "")
    await remove(pool, anchor, named)
    kinds = [row["kind"] for row in await trust_administration.load_history(pool, environment="live")]
    assert kinds[-2:] == ["contract_authority_allowed", "contract_authority_removed"]


async def test_what_is_no_authority_is_not_named(pool: Pool) -> None:
    market = await open_market(pool)
    anchor = await anchor_of(pool)
    for text in ("", "zz" * 32, market.leaf.pem, market.pki.first.pem + market.pki.second.pem):
        with pytest.raises(UnfitAuthorityError):
            await allow(pool, anchor, text)
    with pytest.raises(UnknownRecordError):
        await allow(pool, "00" * 32, market.pki.first.pem)
    with pytest.raises(UnknownRecordError):
        await remove(pool, anchor, "00" * 32)
