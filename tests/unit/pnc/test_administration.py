"""Administration: changes of trust and of contracts are checked, recorded, and listed for partners."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.database import Pool
from pnc import certificate_registry, contract_administration, trust_administration
from pnc.certificate import parse_certificate
from pnc.contract import ChangeCursor, ContractChange, ContractState
from pnc.errors import (
    ConflictingRecordError,
    UnfitAuthorityError,
    UnfitContractError,
    UnknownRecordError,
)
from pnc.trust import AnchorPurpose, RevocationPolicy
from sandbox.pki.hierarchy import Suite, build_pki, new_key
from tests import pki as broken
from tests.fakes.pnc_market import ACTOR, CHANGE, EMAID, NOW, Market, contract, open_market


async def add_anchor(pool: Pool, pem: str, policy: RevocationPolicy = RevocationPolicy.REQUIRE) -> str:
    async with pool.acquire() as connection:
        return await trust_administration.add_anchor(
            connection,
            environment="live",
            certificate=pem,
            purpose=AnchorPurpose.V2G_ROOT,
            policy=policy,
            policy_reason="",
            change=CHANGE,
        )


async def set_state(pool: Pool, state: ContractState, **more: Any) -> Any:
    async with pool.acquire() as connection:
        return await contract_administration.set_state(
            connection, environment="live", emaid=EMAID, state=state, actor=ACTOR, reason="r", now=NOW, **more
        )


PKI = build_pki(suite=Suite.P256, now=NOW, name="Other")
UNFIT_ROOTS = {
    "no certificate": "hello",
    "two certificates": PKI.root.pem + PKI.first.pem,
    "a leaf": PKI.issue(EMAID).pem,
    "a sub-authority": PKI.first.pem,
    "an expired root": broken.root_of(PKI, "Old", not_after=NOW - timedelta(days=1)).pem,
    "a root with an unknown critical extension": broken.root_of(
        PKI, "Odd", extra=((broken.UNKNOWN_CRITICAL, True),)
    ).pem,
}


@pytest.mark.parametrize("case", UNFIT_ROOTS)
async def test_an_unfit_root_is_not_trusted(pool: Pool, case: str) -> None:
    with pytest.raises(UnfitAuthorityError):
        await add_anchor(pool, UNFIT_ROOTS[case])
    assert await trust_administration.list_anchors(pool, environment="live") == []


async def test_a_root_that_another_key_signed_is_not_trusted(pool: Pool) -> None:
    root = parse_certificate(PKI.root.der)
    bent = broken.raw_pem(root.der[:-1] + bytes([root.der[-1] ^ 1]))
    with pytest.raises(UnfitAuthorityError, match="own key"):
        await add_anchor(pool, bent)


async def test_a_soft_policy_needs_a_reason(pool: Pool) -> None:
    with pytest.raises(UnfitAuthorityError, match="reason"):
        await add_anchor(pool, PKI.root.pem, RevocationPolicy.SOFT)


async def test_a_failed_change_of_trust_leaves_no_trace(pool: Pool) -> None:
    await add_anchor(pool, PKI.root.pem)
    with pytest.raises(ConflictingRecordError):
        await add_anchor(pool, PKI.root.pem)
    history = await trust_administration.load_history(pool, environment="live")
    assert [(event["version"], event["actor"]) for event in history] == [(1, ACTOR)]


async def test_simultaneous_changes_of_trust_follow_each_other(pool: Pool) -> None:
    roots = [broken.root_of(PKI, f"Root {place}").pem for place in range(6)]
    await asyncio.gather(*(add_anchor(pool, root) for root in roots))
    history = await trust_administration.load_history(pool, environment="live")
    assert [event["version"] for event in history] == [1, 2, 3, 4, 5, 6]


async def test_what_is_not_there_can_not_be_retired(pool: Pool) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(UnknownRecordError):
            await trust_administration.retire_anchor(
                connection, environment="live", sha256="ab", change=CHANGE
            )
        with pytest.raises(UnknownRecordError):
            await trust_administration.retire_cross_certificate(
                connection, environment="live", sha256="zz", change=CHANGE
            )


@pytest.mark.parametrize("url", ["ftp://x", "http://user@ocsp.example.com", "ocsp.example.com", "http://"])
async def test_an_address_that_may_never_be_requested_is_not_allowed(pool: Pool, url: str) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(UnfitAuthorityError, match="url"):
            await trust_administration.allow_endpoint(
                connection, environment="live", authority=PKI.root.pem, kind="ocsp", url=url, change=CHANGE
            )


async def test_a_removed_endpoint_is_not_requested(pool: Pool) -> None:
    market = await open_market(pool)
    async with pool.acquire() as connection:
        await trust_administration.remove_endpoint(
            connection,
            environment="live",
            authority=market.pki.root.pem,
            kind="ocsp",
            url="HTTP://OCSP.sandbox.test:80/else",
            change=CHANGE,
        )
    await market.ask(market.pem_request())
    assert market.fetcher.asked == []


UNFIT_CONTRACTS: dict[str, tuple[dict[str, Any], str]] = {
    "no emaid": ({"emaid": "x"}, "emaid"),
    "no party": ({"party": "a b"}, "party"),
    "no payment": ({"payment_reference": ""}, "payment_reference"),
    "naive time": ({"valid_from": datetime(2026, 1, 1)}, "valid_from"),  # noqa: DTZ001 - the point
    "backward validity": ({"valid_until": NOW - timedelta(days=9)}, "valid_until"),
    "limit without currency": ({"limit_minor": 5}, "limit_minor"),
    "no limit at all": ({"limit_minor": 0, "currency": "EUR"}, "limit_minor"),
    "no currency": ({"limit_minor": 5, "currency": "eur"}, "currency"),
    "no bundle": ({"bundle": "x"}, "bundle"),
}


@pytest.mark.parametrize("case", UNFIT_CONTRACTS)
async def test_an_unfit_contract_is_rejected_with_its_field(pool: Pool, case: str) -> None:
    market = await open_market(pool)
    changes, path = UNFIT_CONTRACTS[case]
    with pytest.raises(UnfitContractError) as caught:
        await market.put(contract(**{"emaid": "DE8AAC00000001", **changes}))
    assert caught.value.path == path


async def test_a_contract_stored_twice_is_stored_once(pool: Pool) -> None:
    market = await open_market(pool)
    assert (await market.put(contract())).outcome == "unchanged"
    changed = await market.put(contract(limit_minor=5_000, currency="EUR"))
    assert (changed.outcome, changed.contract.revision) == ("changed", 2)


async def test_a_contract_is_not_taken_over_by_another_party(pool: Pool) -> None:
    market = await open_market(pool)
    with pytest.raises(ConflictingRecordError, match="another party"):
        await market.put(contract(party="thief", payment_reference="pm_thief"))


async def test_a_cancelled_contract_stays_cancelled(pool: Pool) -> None:
    market = await open_market(pool)
    await set_state(pool, ContractState.CANCELLED)
    for state in (ContractState.ACTIVE, ContractState.BLOCKED):
        with pytest.raises(ConflictingRecordError):
            await set_state(pool, state)
    with pytest.raises(ConflictingRecordError, match="new eMAID"):
        await market.put(contract())


async def test_an_update_does_not_unblock(pool: Pool) -> None:
    market = await open_market(pool)
    await set_state(pool, ContractState.BLOCKED)
    stored = await market.put(contract(payment_reference="pm_new"))
    assert stored.contract.state is ContractState.BLOCKED


async def test_a_partner_changes_only_its_own_contracts(pool: Pool) -> None:
    await open_market(pool)
    with pytest.raises(UnknownRecordError):
        await set_state(pool, ContractState.BLOCKED, only_party="other")


async def test_an_import_reports_every_row_and_keeps_the_good_ones(pool: Pool) -> None:
    market = await open_market(pool)
    leaf = market.pki.issue("DE8AAC00000002")
    rows = [
        contract("DE8AAC00000001", payment_reference="pm_a"),
        contract("DE8AAC00000002", payment_reference="pm_b", bundle=market.pki.bundle(leaf)),
        contract("DE8AAC00000003", bundle=market.pki.bundle(leaf)),
        contract("nonsense"),
        UnfitContractError(path="valid_from", problem="missing"),
        contract("DE8AAC00000004", party="other"),
        contract(),
        contract("DE8AAC00000005X", payment_reference="pm_c"),
    ]
    verifier, _ = await market.service.load_trust(pool, environment="live")
    async with pool.acquire() as connection:
        report = await contract_administration.import_contracts(
            connection,
            rows,
            environment="live",
            verifier=verifier,
            actor=ACTOR,
            now=NOW,
            only_party="superapp",
        )
    assert [row.row for row in report] == list(range(8))
    assert [row.outcome for row in report] == [
        "created",
        "created",
        "rejected",
        "rejected",
        "rejected",
        "rejected",
        "unchanged",
        "created",
    ]
    assert report[7].warning
    assert "another eMAID" in report[2].problem
    assert await contract_administration.load_history(pool, environment="live", emaid="DE8AAC00000002")
    assert len(await certificate_registry.load_history(pool, environment="live", emaid="DE8AAC00000002")) == 1


async def test_a_withdrawal_of_an_unknown_certificate_is_rejected(pool: Pool) -> None:
    with pytest.raises(UnknownRecordError):
        await certificate_registry.block(
            pool, environment="live", emaid=EMAID, leaf_sha256=b"\x00" * 32, reason="r", now=NOW
        )


async def read_feed(market: Market, after: ChangeCursor) -> list[ContractChange]:
    return await contract_administration.list_changes(market.pool, environment="live", after=after)


async def test_the_change_feed_never_skips_a_change_that_commits_late(pool: Pool) -> None:
    market = await open_market(pool)
    start = (await read_feed(market, ChangeCursor()))[-1].cursor
    verifier, _ = await market.service.load_trust(pool, environment="live")

    async def put(connection: Any, emaid: str) -> None:
        await contract_administration.put_contract(
            connection,
            contract(emaid, payment_reference=emaid),
            environment="live",
            verifier=verifier,
            actor=ACTOR,
            now=NOW,
        )

    async with pool.acquire() as slow, pool.acquire() as quick:
        transaction = slow.transaction()
        await transaction.start()
        await put(slow, "DE8AAC00000001")
        await put(quick, "DE8AAC00000002")
        assert await read_feed(market, start) == []  # the later one waits for the older writer
        await transaction.commit()
    emaids = [change.emaid for change in await read_feed(market, start)]
    assert sorted(emaids) == ["DE8AAC00000001", "DE8AAC00000002"]


async def test_the_feed_and_the_history_name_no_means_of_payment(pool: Pool) -> None:
    market = await open_market(pool)
    async with pool.acquire() as connection:
        changed = await contract_administration.set_payment_usable(
            connection,
            environment="live",
            emaid=EMAID,
            usable=False,
            actor=ACTOR,
            reason="detached",
            now=NOW,
        )
    assert (changed.emaid, changed.payment_usable) == (EMAID, False)
    feed = await read_feed(market, ChangeCursor())
    assert [change.kind for change in feed] == ["created", "payment_unusable"]
    history = await contract_administration.load_history(pool, environment="live", emaid=EMAID)
    assert "pm_card_1" not in f"{feed}{history}"


async def test_the_feed_of_a_party_is_its_own(pool: Pool) -> None:
    market = await open_market(pool)
    await market.put(contract("DE8AAC00000001", party="other", payment_reference="pm_2"))
    feed = await contract_administration.list_changes(
        pool, environment="live", after=ChangeCursor(), party="other"
    )
    assert [change.emaid for change in feed] == ["DE8AAC00000001"]
    listed = await contract_administration.list_contracts(pool, environment="live", party="superapp")
    assert [item.emaid for item in listed] == [EMAID]


def test_a_sandbox_key_can_be_kept_encrypted() -> None:
    assert "ENCRYPTED" in PKI.root.key_pem(b"secret")
    assert new_key(Suite.ED448) is not None


async def test_the_feed_is_in_the_order_of_numbers_when_transactions_gain_a_digit(pool: Pool) -> None:
    await open_market(pool)
    await pool.execute("DELETE FROM pnc.contract_change")
    numbers = [8, 9, 10, 99, 100]
    for number in numbers:
        await pool.execute(
            """
            INSERT INTO pnc.contract_change
                (written_by, environment, emaid, contract_id, party, kind, revision, actor, reason, at)
            VALUES ($1::text::xid8, 'live', $2, $3, 'superapp', 'changed', 1, 'a', '', $4)
            """,
            str(number),
            EMAID,
            UUID(int=number),
            NOW,
        )
    seen: list[int] = []
    cursor = ChangeCursor()
    while found := await contract_administration.list_changes(
        pool, environment="live", after=cursor, limit=1
    ):
        cursor = found[0].cursor
        seen.append(found[0].contract_id.int)
    assert seen == numbers
