"""The service on a real database: one decision per session, recorded, repeated, never crossed."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from cryptography.x509 import ocsp

from gateway.database import Pool
from pnc import decision_lifecycle, trust_administration
from pnc.authorization import AuthorizationDecisionState, CertificateStatus, IdTokenStatus
from pnc.certificate import parse_certificate
from pnc.contract import ContractState
from pnc.contract_administration import set_state
from pnc.emaid import parse_emaid
from pnc.errors import ConflictingRecordError, PncInvariantViolation, UnfitCallError, UnknownRecordError
from pnc.hash_data import HashAlgorithm
from pnc.ports import FetchError
from pnc.rejection_reasons import RejectionReason
from pnc.revocation_checker import RevocationChecker
from pnc.service import DecisionResult
from pnc.trust import AnchorPurpose, RevocationPolicy
from sandbox.pki.hierarchy import Suite, build_pki, cross_sign, ocsp_answer, revocation_list
from tests.fakes.pnc_market import (
    ACTOR,
    CHANGE,
    CRL_URL,
    EMAID,
    NOW,
    OCSP_URL,
    Market,
    NoFetcher,
    ScriptedFetcher,
    contract,
    open_market,
)

ACCEPTED = (CertificateStatus.ACCEPTED, IdTokenStatus.ACCEPTED)
BARE = {"idToken": {"idToken": EMAID, "type": "eMAID"}}


async def accept(market: Market, **where: str) -> DecisionResult:
    answer = await market.ask(market.pem_request(), **where)  # type: ignore[arg-type]
    done = await market.service.conclude(
        market.pool, answer.decision.id, secured=True, authorization_id="aut_1", now=NOW
    )
    assert done.statuses == ACCEPTED
    return answer


@pytest.mark.parametrize("suite", list(Suite))
async def test_a_good_contract_awaits_its_payment_and_is_accepted_once_secured(
    pool: Pool, suite: Suite
) -> None:
    market = await open_market(pool, suite=suite)
    answer = await market.ask(market.pem_request())
    assert answer.decision.payment_needed
    with pytest.raises(PncInvariantViolation):  # no status says that the payment is not decided
        _ = answer.decision.statuses
    assert answer.contract is not None
    assert answer.contract.payment_reference == "pm_card_1"
    done = await market.service.conclude(
        pool, answer.decision.id, secured=True, authorization_id="aut_1", now=NOW
    )
    assert done.statuses == ACCEPTED


async def test_the_second_call_without_a_certificate_gets_the_first_decision(pool: Pool) -> None:
    market = await open_market(pool)
    first = await accept(market)
    second = await market.ask(BARE)
    assert second.repeated
    assert (second.decision.id, second.decision.authorization_id) == (first.decision.id, "aut_1")
    assert second.decision.statuses == ACCEPTED


async def test_the_repeated_answer_is_the_first_even_after_the_root_is_retired(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market)
    async with pool.acquire() as connection:
        sha256 = parse_certificate(market.pki.root.der).sha256.hex()
        await trust_administration.retire_anchor(connection, environment="live", sha256=sha256, change=CHANGE)
    assert (await market.ask(BARE)).decision.statuses == ACCEPTED
    fresh = await market.ask(market.pem_request(), session_ref="tx-2")
    assert fresh.decision.rejection_reason is RejectionReason.UNTRUSTED_ROOT


async def test_a_rejected_decision_is_repeated_too(pool: Pool) -> None:
    market = await open_market(pool)
    first = await market.ask(market.pem_request(bundle=market.leaf.pem))
    second = await market.ask(BARE)
    assert second.repeated
    assert second.decision == first.decision


async def test_another_sessions_answer_is_not_repeated(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market, session_ref="tx-1")
    answer = await market.ask(BARE, session_ref="tx-2")
    assert answer.decision.rejection_reason is RejectionReason.NO_CERTIFICATE


async def test_another_operators_session_of_the_same_name_is_not_repeated(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market, operator_id="NL-ABC")
    answer = await market.ask(BARE, operator_id="DE-XYZ")
    assert answer.decision.rejection_reason is RejectionReason.NO_CERTIFICATE


async def test_an_answer_is_not_repeated_for_another_emaid(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market)
    answer = await market.ask({"idToken": {"idToken": "DE8AAC87654321", "type": "eMAID"}})
    assert answer.decision.rejection_reason is RejectionReason.SESSION_OF_ANOTHER_CONTRACT
    assert answer.decision.statuses == (CertificateStatus.CERT_CHAIN_ERROR, IdTokenStatus.INVALID)


async def test_an_answer_is_not_repeated_after_its_time(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market)
    late = NOW + timedelta(hours=24, seconds=1)
    assert (await market.ask(BARE, now=late)).decision.rejection_reason is RejectionReason.NO_CERTIFICATE


async def test_an_ended_session_is_not_authorized_again(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market)
    open_decision = (await market.ask(BARE)).decision
    assert await decision_lifecycle.close_decision(pool, open_decision, now=NOW)
    for request in (BARE, market.pem_request()):
        answer = await market.ask(request)
        assert answer.decision.rejection_reason is RejectionReason.SESSION_ENDED


async def test_the_same_proof_again_gets_the_same_decision(pool: Pool) -> None:
    market = await open_market(pool)
    first = await market.ask(market.pem_request())
    again = await market.ask(market.pem_request())
    assert (again.decision.id, again.repeated) == (first.decision.id, True)


async def test_a_forged_proof_in_an_accepted_session_is_rejected_and_changes_nothing(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market)
    stranger = build_pki(suite=Suite.P256, now=NOW, name="Stranger")
    forged = await market.ask(market.pem_request(bundle=stranger.bundle(stranger.issue(EMAID))))
    assert forged.decision.rejection_reason is RejectionReason.UNTRUSTED_ROOT
    assert (await market.ask(BARE)).decision.statuses == ACCEPTED


async def test_an_updated_certificate_in_an_open_session_keeps_its_authorization(pool: Pool) -> None:
    market = await open_market(pool)
    first = await accept(market)
    update = market.pki.issue(EMAID)
    market.fetcher.know(market.pki.second, update)
    answer = await market.ask(market.pem_request(bundle=market.pki.bundle(update)))
    assert (answer.decision.id, answer.decision.authorization_id) == (first.decision.id, "aut_1")


async def test_a_retry_after_a_rejection_is_evaluated_again(pool: Pool) -> None:
    market = await open_market(pool)
    serial = market.leaf.certificate.serial_number
    market.fetcher.script[serial] = FetchError("down")
    assert (
        await market.ask(market.pem_request())
    ).decision.rejection_reason is RejectionReason.REVOCATION_UNREACHABLE
    del market.fetcher.script[serial]
    later = NOW + timedelta(seconds=31)
    assert (await market.ask(market.pem_request(), now=later)).decision.payment_needed


async def test_an_unknown_answer_is_not_kept_like_a_statement(pool: Pool) -> None:
    market = await open_market(pool)
    serial = market.leaf.certificate.serial_number
    about = {"issuer": market.pki.second.certificate, "responder": market.pki.second}
    market.fetcher.script[serial] = ocsp_answer(
        market.leaf.certificate, now=NOW, status=ocsp.OCSPCertStatus.UNKNOWN, **about
    )
    assert (
        await market.ask(market.pem_request())
    ).decision.rejection_reason is RejectionReason.REVOCATION_UNKNOWN
    del market.fetcher.script[serial]
    later = NOW + timedelta(minutes=1)
    assert (await market.ask(market.pem_request(), now=later)).decision.payment_needed


async def test_an_unreachable_responder_is_left_alone_for_a_while(pool: Pool) -> None:
    market = await open_market(pool)
    market.fetcher.script[market.leaf.certificate.serial_number] = FetchError("down")
    for place in range(3):
        await market.ask(market.pem_request(), session_ref=f"tx-{place}")
    assert len(market.fetcher.asked) == 3  # leaf and two authorities, once each


async def test_simultaneous_first_calls_make_one_decision(pool: Pool) -> None:
    market = await open_market(pool)
    answers = await asyncio.gather(*(market.ask(market.pem_request()) for _ in range(8)))
    assert len({answer.decision.id for answer in answers}) == 1
    assert all(answer.decision.payment_needed for answer in answers)
    assert len(market.fetcher.asked) == 3  # shared, not asked eight times


async def test_simultaneous_calls_of_two_contracts_in_one_session_let_one_in(pool: Pool) -> None:
    market = await open_market(pool)
    other = market.pki.issue("DE8AAC87654321")
    market.fetcher.know(market.pki.second, other)
    await market.put(contract("DE8AAC87654321", payment_reference="pm_2"))
    requests = [
        market.pem_request(),
        market.pem_request(emaid="DE8AAC87654321", bundle=market.pki.bundle(other)),
    ]
    answers = await asyncio.gather(*(market.ask(request) for request in requests * 4))
    open_ones = {answer.decision.id for answer in answers if answer.decision.payment_needed}
    assert len(open_ones) == 1
    rejected = [answer.decision.rejection_reason for answer in answers if not answer.decision.payment_needed]
    assert set(rejected) == {RejectionReason.SESSION_OF_ANOTHER_CONTRACT}


async def test_hash_data_does_once_its_certificate_was_seen(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market)
    for place, algorithm in enumerate(HashAlgorithm):
        request = market.hash_request(algorithm=algorithm)
        answer = await market.ask(request, session_ref=f"hash-{place}")
        assert answer.decision.payment_needed, answer.decision.detail


async def test_both_of_a_contracts_certificates_do_after_an_update_and_history_is_kept(pool: Pool) -> None:
    market = await open_market(pool)
    update = market.pki.issue(EMAID)
    market.fetcher.know(market.pki.second, update)
    await market.put(contract(bundle=market.pki.bundle(market.leaf)))
    await market.put(contract(bundle=market.pki.bundle(update)))
    for place, leaf in enumerate((market.leaf, update)):
        answer = await market.ask(market.hash_request(leaf=leaf), session_ref=f"s-{place}")
        assert answer.decision.payment_needed
    rows = await pool.fetch("SELECT source FROM pnc.contract_certificate WHERE emaid = $1", EMAID)
    assert [row["source"] for row in rows] == ["imported", "imported"]


async def test_a_cached_status_is_used_until_it_ends_then_refreshed(pool: Pool) -> None:
    market = await open_market(pool)
    await market.ask(market.pem_request(), session_ref="a")
    await market.ask(market.pem_request(), session_ref="b", now=NOW + timedelta(hours=11))
    assert len(market.fetcher.asked) == 3
    market.fetcher.now = NOW + timedelta(hours=13)
    await market.ask(market.pem_request(), session_ref="c", now=NOW + timedelta(hours=13))
    assert len(market.fetcher.asked) == 6


async def test_another_process_uses_the_stored_status(pool: Pool) -> None:
    market = await open_market(pool)
    await market.ask(market.pem_request(), session_ref="a")
    market.service.revocation_checker._known.clear()
    await market.ask(market.pem_request(), session_ref="b")
    assert len(market.fetcher.asked) == 3


async def test_a_revocation_seen_once_is_not_undone_by_an_older_good_answer(pool: Pool) -> None:
    market = await open_market(pool, ocsp_url=None)
    about = {"issuer": market.pki.second.certificate, "responder": market.pki.second}
    bad = ocsp_answer(market.leaf.certificate, now=NOW, status=ocsp.OCSPCertStatus.REVOKED, **about)
    old = ocsp_answer(market.leaf.certificate, now=NOW - timedelta(hours=1), **about)
    first = await market.ask(market.pem_request(), stapled=(bad,), session_ref="a")
    assert first.decision.rejection_reason is RejectionReason.REVOKED
    market.service.revocation_checker._known.clear()
    second = await market.ask(market.pem_request(), stapled=(old,), session_ref="b")
    assert second.decision.rejection_reason is RejectionReason.REVOKED


async def test_stapled_answers_are_believed_once_verified(pool: Pool) -> None:
    market = await open_market(pool)
    chain = (market.leaf, market.pki.second, market.pki.first)
    above = (market.pki.second, market.pki.first, market.pki.root)
    stapled = tuple(
        ocsp_answer(item.certificate, issuer=issuer.certificate, responder=issuer, now=NOW)
        for item, issuer in zip(chain, above, strict=True)
    )
    assert (await market.ask(market.pem_request(), stapled=stapled)).decision.payment_needed
    assert market.fetcher.asked == []


async def test_a_crl_answers_when_no_responder_does(pool: Pool) -> None:
    market = await open_market(pool, ocsp_url=None, crl_url=CRL_URL)
    # One list a distribution point: each issuer's own is stored by hand, the leaf's is fetched.
    for issuer in (market.pki.root, market.pki.first):
        await market.service.revocation_checker.store_crl(
            pool, revocation_list(issuer, now=NOW), issuer=parse_certificate(issuer.der), now=NOW
        )
    market.fetcher.lists[CRL_URL] = revocation_list(market.pki.second, now=NOW)
    answer = await market.ask(market.pem_request())
    assert answer.decision.payment_needed, answer.decision.detail
    assert market.fetcher.asked == [CRL_URL]


async def test_a_crl_uploaded_to_one_process_stops_the_certificate_in_every_other(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market)
    other = RevocationChecker(fetcher=NoFetcher())
    listed = revocation_list(
        market.pki.second, now=NOW - timedelta(hours=1), serials=[market.leaf.certificate.serial_number]
    )
    issuer = parse_certificate(market.pki.second.der)
    assert await other.store_crl(pool, listed, issuer=issuer, now=NOW) is None
    answer = await market.ask(market.pem_request(), session_ref="tx-2")
    assert answer.decision.rejection_reason is RejectionReason.REVOKED
    foreign = revocation_list(market.pki.first, now=NOW, serials=[1])
    rejected = await other.store_crl(pool, foreign, issuer=issuer, now=NOW)
    assert rejected is not None
    assert rejected.rejection_reason is RejectionReason.REVOCATION_UNVERIFIED


async def test_a_caller_that_gives_up_does_not_take_the_others_with_it(pool: Pool) -> None:
    market = await open_market(pool)
    hold = asyncio.Event()
    plain = market.fetcher.fetch_ocsp

    class Slow(ScriptedFetcher):
        async def fetch_ocsp(self, url: str, request: bytes) -> bytes:
            self.asked.append(url)
            await hold.wait()
            return await plain(url, request)

    slow = Slow()
    market.service.revocation_checker.fetcher = slow
    first = asyncio.create_task(market.ask(market.pem_request()))
    while not slow.asked:
        await asyncio.sleep(0.01)
    second = asyncio.create_task(market.ask(market.pem_request()))
    await asyncio.sleep(0.2)
    first.cancel()
    hold.set()
    assert (await second).decision.payment_needed


async def test_a_soft_policy_lets_an_unreachable_source_pass_and_records_why(pool: Pool) -> None:
    market = await open_market(pool, policy=RevocationPolicy.SOFT)
    market.fetcher.script[market.leaf.certificate.serial_number] = FetchError("down")
    answer = await market.ask(market.pem_request())
    assert answer.decision.payment_needed
    assert "soft policy (test)" in answer.decision.notes
    assert "revocation_unreachable" in answer.decision.notes


async def test_why_a_source_gave_no_answer_stays_inside(pool: Pool) -> None:
    market = await open_market(pool)
    market.fetcher.script[market.leaf.certificate.serial_number] = FetchError("10.0.0.7 is not public")
    decision = (await market.ask(market.pem_request())).decision
    assert "10.0.0.7" not in decision.detail
    assert "10.0.0.7" in decision.notes


async def test_a_certificate_without_any_source_is_rejected_where_revocation_is_required(pool: Pool) -> None:
    market = await open_market(pool, ocsp_url=None)
    answer = await market.ask(market.pem_request())
    assert answer.decision.rejection_reason is RejectionReason.REVOCATION_UNREACHABLE


async def test_a_root_cross_signed_by_a_trusted_one_is_trusted_through_it(pool: Pool) -> None:
    market = await open_market(pool, policy=RevocationPolicy.SOFT)
    newcomer = build_pki(suite=Suite.P256, now=NOW, name="Newcomer")
    request = market.pem_request(bundle=newcomer.bundle(newcomer.issue(EMAID)))
    assert (await market.ask(request)).decision.rejection_reason is RejectionReason.UNTRUSTED_ROOT
    bridge = cross_sign(newcomer.root, by=market.pki.root, now=NOW)
    async with pool.acquire() as connection:
        sha256 = await trust_administration.add_cross_certificate(
            connection, environment="live", certificate=bridge.pem, change=CHANGE
        )
        assert (await market.ask(request, session_ref="tx-2")).decision.payment_needed
        await trust_administration.retire_cross_certificate(
            connection, environment="live", sha256=sha256, change=CHANGE
        )
    assert (
        await market.ask(request, session_ref="tx-3")
    ).decision.rejection_reason is RejectionReason.UNTRUSTED_ROOT


async def test_environments_trust_apart(pool: Pool) -> None:
    market = await open_market(pool)
    market.environment = "sandbox"
    assert (
        await market.ask(market.pem_request())
    ).decision.rejection_reason is RejectionReason.UNTRUSTED_ROOT


async def test_a_conclusion_is_final_and_its_repetition_changes_nothing(pool: Pool) -> None:
    market = await open_market(pool)
    answer = await accept(market)
    conclude = market.service.conclude
    again = await conclude(pool, answer.decision.id, secured=True, authorization_id="aut_1", now=NOW)
    assert again.accepted
    with pytest.raises(ConflictingRecordError):
        await conclude(pool, answer.decision.id, secured=True, authorization_id="aut_2", now=NOW)
    with pytest.raises(ConflictingRecordError):
        await conclude(pool, answer.decision.id, secured=False, authorization_id=None, now=NOW)
    with pytest.raises(UnknownRecordError):
        await conclude(pool, UUID(int=64), secured=True, authorization_id="aut_1", now=NOW)
    with pytest.raises(PncInvariantViolation):
        await conclude(pool, answer.decision.id, secured=True, authorization_id=None, now=NOW)


async def test_a_contract_blocked_meanwhile_is_accepted_for_no_session_any_more(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market)
    async with pool.acquire() as connection:
        await set_state(
            connection,
            environment="live",
            emaid=EMAID,
            state=ContractState.BLOCKED,
            actor=ACTOR,
            reason="",
            now=NOW,
        )
    again = await market.ask(BARE)
    assert (again.decision.rejection_reason, again.repeated) == (RejectionReason.CONTRACT_BLOCKED, False)
    # What was accepted before stands: its payment is held, and the session is settled.
    kept = await decision_lifecycle.find_by_authorization(
        pool,
        environment="live",
        operator_id="NL-ABC",
        session_ref="tx-1",
        authorization_id="aut_1",
    )
    assert kept is not None
    assert kept.state is AuthorizationDecisionState.ACCEPTED
    fresh = await market.ask(market.pem_request(), session_ref="tx-2")
    assert fresh.decision.rejection_reason is RejectionReason.CONTRACT_BLOCKED


async def test_no_responder_is_requested_inside_a_transaction(pool: Pool) -> None:
    market = await open_market(pool)
    async with pool.acquire() as connection, connection.transaction():
        with pytest.raises(PncInvariantViolation, match="transaction"):
            await market.service.decide(
                connection,
                environment="live",
                operator_id="NL-ABC",
                session_ref="tx-1",
                evse_id="E1",
                ocpp_version="2.0.1",
                request=market.pem_request(),
                now=NOW,
            )


@pytest.mark.parametrize("text", ["", "a\x00b", "x" * 256, "tx\u202e1", " tx"])
async def test_a_session_reference_that_is_no_plain_text_is_rejected(pool: Pool, text: str) -> None:
    market = await open_market(pool)
    with pytest.raises(UnfitCallError, match="session_ref"):
        await market.ask(BARE, session_ref=text)


async def test_statuses_are_refreshed_before_they_end(pool: Pool) -> None:
    market = await open_market(pool)
    await accept(market)
    soon = NOW + timedelta(hours=11, minutes=30)
    market.fetcher.now = soon
    assert await market.service.refresh_statuses(pool, environment="live", now=soon) == 1
    assert len(market.fetcher.asked) == 6
    assert await market.service.refresh_statuses(pool, environment="live", now=soon) == 0


async def test_the_database_itself_holds_one_open_decision_per_session(pool: Pool) -> None:
    market = await open_market(pool)
    answer = await market.ask(market.pem_request())
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute(
            """
            INSERT INTO pnc.decision (shard, id, environment, operator_id, session_ref, evse_id, ocpp_version,
                                      emaid, contract_id, state, trust_version, decided_at)
            SELECT shard, gen_random_uuid(), environment, operator_id, session_ref, evse_id, ocpp_version,
                   emaid, contract_id, state, trust_version, decided_at
            FROM pnc.decision WHERE id = $1
            """,
            answer.decision.id,
        )


async def test_a_root_added_again_after_retirement_is_trusted_again(pool: Pool) -> None:
    market = await open_market(pool)
    sha256 = parse_certificate(market.pki.root.der).sha256.hex()
    async with pool.acquire() as connection:
        await trust_administration.retire_anchor(connection, environment="live", sha256=sha256, change=CHANGE)
        await trust_administration.add_anchor(
            connection,
            environment="live",
            certificate=market.pki.root.pem,
            purpose=AnchorPurpose.MO_ROOT,
            policy=RevocationPolicy.REQUIRE,
            policy_reason="",
            change=CHANGE,
        )
        history = await trust_administration.load_history(connection, environment="live")
    assert [event["kind"] for event in history] == [
        "anchor_added",
        "endpoint_allowed",
        "endpoint_allowed",
        "anchor_retired",
        "anchor_added",
    ]
    assert (await market.ask(market.pem_request())).decision.payment_needed


async def test_the_stations_responder_is_requested_when_it_is_allow_listed(pool: Pool) -> None:
    market = await open_market(pool, ocsp_url=None, policy=RevocationPolicy.SOFT)
    request = {
        **market.pem_request(),
        "iso15118CertificateHashData": [market.hash_entry(market.leaf, url=OCSP_URL)],
    }
    assert (await market.ask(request)).decision.payment_needed
    assert OCSP_URL in market.fetcher.asked


def _din_bodies() -> tuple[str, str]:
    first, second = parse_emaid("DE*8AA*123456").bodies
    return first, second


@pytest.mark.parametrize("place", [0, 1])
async def test_a_din_emaid_finds_its_contract_under_either_published_mapping(pool: Pool, place: int) -> None:
    body = _din_bodies()[place]
    market = await open_market(pool)
    leaf = market.pki.issue(body)
    market.fetcher.know(market.pki.second, leaf)
    await market.put(contract(body, payment_reference="pm_2"))
    for number, text in enumerate(("DE*8AA*123456", "DE-8AA-123456", body)):
        request = market.pem_request(emaid=text, bundle=market.pki.bundle(leaf))
        answer = await market.ask(request, session_ref=f"s{number}")
        assert answer.decision.payment_needed, answer.decision.detail
        assert answer.decision.emaid == body
        assert ("two published mappings" in answer.decision.notes) is (text != body)
    by_hash = await market.ask(market.hash_request(emaid="DE*8AA*123456", leaf=leaf), session_ref="h")
    assert by_hash.decision.payment_needed, by_hash.decision.detail
    # An administrator's DIN spelling is the same contract, whichever mapping it was stored by.
    assert (await market.put(contract("DE*8AA*123456", payment_reference="pm_2"))).outcome == "unchanged"


async def test_a_din_emaid_never_charges_the_contract_of_the_other_mapping(pool: Pool) -> None:
    """A certificate of one mapping's eMAID with the DIN token of a contract stored by the other mapping."""
    first, second = _din_bodies()
    market = await open_market(pool)
    await market.put(contract(first, payment_reference="pm_2"))
    thief = market.pki.issue(second)
    market.fetcher.know(market.pki.second, thief)
    request = market.pem_request(emaid="DE*8AA*123456", bundle=market.pki.bundle(thief))
    answer = await market.ask(request)
    assert answer.decision.rejection_reason is RejectionReason.EMAID_MISMATCH


async def test_a_din_emaid_that_names_two_contracts_is_refused(pool: Pool) -> None:
    first, second = _din_bodies()
    market = await open_market(pool)
    for body in (first, second):
        await market.put(contract(body, payment_reference=f"pm_{body}"))
    leaf = market.pki.issue(first)
    market.fetcher.know(market.pki.second, leaf)
    answer = await market.ask(
        market.pem_request(emaid="DE*8AA*123456", bundle=market.pki.bundle(leaf)), session_ref="din"
    )
    assert answer.decision.rejection_reason is RejectionReason.MALFORMED_EMAID
    assert "two contracts" in answer.decision.detail
    with pytest.raises(ConflictingRecordError, match="two contracts"):
        await market.put(contract("DE*8AA*123456"))
    iso = await market.ask(market.pem_request(emaid=first, bundle=market.pki.bundle(leaf)), session_ref="iso")
    assert iso.decision.payment_needed
