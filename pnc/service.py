"""The service: one decision for one call, recorded; then the conclusion, once the payment is secured or not.

Owns the order of a decision. Must not know HTTP, and makes no network call inside a database transaction:
hand `decide` a pool, so that no connection waits while a responder is asked. Between `decide` and `conclude`
the caller secures the payment.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from pnc import registry, store
from pnc.authorization import (
    Contract,
    Decision,
    DecisionEvent,
    DecisionState,
    Presented,
    Step,
    advance,
    contract_refusal,
    lane_of,
    next_step,
    read_request,
)
from pnc.chain import ChainVerifier, ValidChain
from pnc.errors import ConflictingRecordError, InvariantViolation, UnfitCallError, UnknownRecordError
from pnc.findings import Finding, Refusal
from pnc.hash_data import agrees
from pnc.inquiry import Inquiry
from pnc.ports import Executor
from pnc.profile import ProfileRules, contract_emaid
from pnc.revocation import assess
from pnc.store import Context, Endpoints

_LANE_MASK: Final = 63
_REFERENCE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_DETAIL_LENGTH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugAndChargeSettings:
    """What an operator of this system may decide."""

    rules: ProfileRules = field(default_factory=ProfileRules)
    repeat_for: timedelta = timedelta(hours=24)
    register_presented: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A decision with the contract it is about; `repeated` when it was made by an earlier call."""

    decision: Decision
    contract: Contract | None
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call, as it runs through a decision."""

    lane: int
    environment: str
    operator_id: str
    session_ref: str
    evse_id: str
    ocpp_version: str
    now: datetime
    stapled: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What evaluating a proof came to."""

    refusal: Refusal | None
    leaf_sha256: bytes | None = None
    notes: str = ""
    chain: ValidChain | None = None


@dataclass(slots=True)
class PlugAndChargeService:
    """Decides whether a presented contract may charge."""

    inquiry: Inquiry
    settings: PlugAndChargeSettings = field(default_factory=PlugAndChargeSettings)
    _trust: dict[str, tuple[ChainVerifier, Endpoints]] = field(default_factory=dict)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def decide(
        self, executor: Executor, *, environment: str, operator_id: str, session_ref: str, evse_id: str,
        ocpp_version: str, request: Mapping[str, object], now: datetime, stapled: Sequence[bytes] = (),
    ) -> Answer:  # fmt: skip
        """Decide one AuthorizeRequest that passed its schema, and record the decision.

        `executor` is a pool, or a connection with no transaction open. `operator_id` is the authenticated
        operator of the station; sessions of different operators never meet. `stapled` are OCSP responses in
        DER that came along. `now` is aware.

        When `answer.decision.payment_needed`, secure the payment of `answer.contract` and call `conclude`;
        the decision's id is the payment's idempotency key, since a repeated call gets the same decision.

        Raises:
            UnfitCallError: `session_ref` or `evse_id` is not 1 to 255 printable ASCII characters.
            InvariantViolation: a transaction is open.
        """
        in_transaction = getattr(executor, "is_in_transaction", None)
        if in_transaction is not None and in_transaction():
            raise InvariantViolation("decide() asks the network and can't run inside a transaction")
        for path, text in (("session_ref", session_ref), ("station.evse_id", evse_id)):
            if _REFERENCE.fullmatch(text) is None:
                raise UnfitCallError(path=path, problem="expected 1 to 255 printable ASCII characters")
        call = _Call(
            lane=lane_of(environment=environment, operator_id=operator_id, session_ref=session_ref),
            environment=environment, operator_id=operator_id, session_ref=session_ref, evse_id=evse_id,
            ocpp_version=ocpp_version, now=now, stapled=stapled,
        )  # fmt: skip
        presented = read_request(request, strict_check_digit=self.settings.rules.strict_check_digit)
        emaid = presented.emaid.body if isinstance(presented, Presented) else None
        context = await store.load_context(
            executor, lane=call.lane, environment=environment, operator_id=operator_id,
            session_ref=session_ref, emaid=emaid,
        )  # fmt: skip
        if isinstance(presented, Refusal):
            return await self._record(executor, call, None, context, _Verdict(refusal=presented))
        step = next_step(context.prior, presented, now=now, repeat_for=self.settings.repeat_for)
        if isinstance(step, Refusal):
            return await self._record(executor, call, presented, context, _Verdict(refusal=step))
        if step is Step.REPEAT and context.prior is not None:
            return Answer(decision=context.prior, contract=context.contract, repeated=True)
        verdict = await self._evaluate(executor, call, presented, context)
        return await self._record(executor, call, presented, context, verdict)

    async def conclude(
        self, executor: Executor, decision_id: UUID, *, secured: bool, authorization_id: str | None,
        now: datetime, detail: str = "",
    ) -> Decision:  # fmt: skip
        """Record how securing the payment ended; the same conclusion again changes nothing.

        `authorization_id` is the public id of the payment authorization, needed when secured. May run inside
        the caller's transaction.

        Raises:
            UnknownRecordError: there is no such decision.
            ConflictingRecordError: the decision was concluded otherwise.
            InvariantViolation: secured without an authorization.
        """
        if secured and authorization_id is None:
            raise InvariantViolation("a secured payment has an authorization")
        event = DecisionEvent.PAYMENT_SECURED if secured else DecisionEvent.PAYMENT_DECLINED
        lane = decision_id.int & _LANE_MASK
        target = advance(DecisionState.AWAITING_PAYMENT, event)
        moved = await store.conclude_decision(
            executor, lane=lane, decision_id=decision_id, state=target, authorization_id=authorization_id,
            finding=None if secured else Finding.PAYMENT_NOT_SECURED, detail=detail[:_DETAIL_LENGTH], now=now,
        )  # fmt: skip
        if moved is not None:
            return moved
        known = await store.load_decision(executor, lane=lane, decision_id=decision_id)
        if known is None:
            raise UnknownRecordError(f"there is no decision {decision_id}")
        if known.state is target and known.authorization_id == authorization_id:
            return known
        raise ConflictingRecordError(f"decision {decision_id} is {known.state.value} already")

    async def close_session(
        self, executor: Executor, *, environment: str, operator_id: str, session_ref: str, now: datetime
    ) -> Decision | None:
        """End a session's open decision: no later call is answered from it. None when none is open."""
        lane = lane_of(environment=environment, operator_id=operator_id, session_ref=session_ref)
        return await store.close_session(
            executor, lane=lane, environment=environment, operator_id=operator_id, session_ref=session_ref,
            now=now,
        )  # fmt: skip

    async def refresh_statuses(
        self, executor: Executor, *, environment: str, now: datetime, batch: int = 50
    ) -> int:
        """Ask again about registered certificates whose status ends soon; returns how many chains."""
        due = await store.due_bundles(
            executor, environment=environment, now=now, before=now + self.inquiry.settings.lead, batch=batch
        )
        verifier, endpoints = await self.trust_of(executor, environment=environment)
        asked = 0
        for bundle in due:
            chain = verifier.verify(bundle, now=now)
            if isinstance(chain, ValidChain):
                await self.inquiry.refresh(executor, chain, endpoints=endpoints, now=now)
                asked += 1
        return asked

    async def trust_of(
        self, executor: Executor, *, environment: str, at_least: int = 0
    ) -> tuple[ChainVerifier, Endpoints]:
        """Return the verifier of an environment, loaded again when its version is older than `at_least`."""
        known = self._trust.get(environment)
        if known is not None and 0 < at_least <= known[0].trust.version:
            return known
        async with self._loading:
            known = self._trust.get(environment)
            if known is None or at_least == 0 or known[0].trust.version < at_least:
                trust, endpoints = await store.load_trust(executor, environment=environment)
                if known is None or known[0].trust.version != trust.version:
                    known = (ChainVerifier(trust=trust, rules=self.settings.rules), endpoints)
                    self._trust[environment] = known
        return known

    async def _evaluate(
        self, executor: Executor, call: _Call, presented: Presented, context: Context
    ) -> _Verdict:
        """Judge a proof: chain, eMAID, hash data, revocation, contract, in this order."""
        verifier, endpoints = await self.trust_of(
            executor, environment=call.environment, at_least=context.trust_version
        )
        bundle = presented.bundle
        if bundle is None:
            found = await self._registered_bundle(executor, call, presented)
            if isinstance(found, Refusal):
                return _Verdict(refusal=found)
            bundle = found
        chain = verifier.verify(bundle, now=call.now)
        if isinstance(chain, Refusal):
            return _Verdict(refusal=chain)
        leaf = chain.leaf.sha256
        if (refusal := match_refusal(chain, presented)) is not None:
            return _Verdict(refusal=refusal, leaf_sha256=leaf)
        if leaf in context.withdrawn:
            detail = "the certificate was withdrawn here"
            return _Verdict(refusal=Refusal(finding=Finding.WITHDRAWN, detail=detail), leaf_sha256=leaf)
        refusal, notes = await self._revocation_refusal(executor, call, presented, chain, endpoints)
        if refusal is None:
            refusal = contract_refusal(context.contract, call.now)
        return _Verdict(refusal=refusal, leaf_sha256=leaf, notes=notes, chain=chain)

    async def _registered_bundle(
        self, executor: Executor, call: _Call, presented: Presented
    ) -> str | Refusal:
        """Find the registered chain that hash data stands for; hash data alone proves no eMAID."""
        found = await store.certificates_by_hash(
            executor, environment=call.environment, names=[entry.certificate for entry in presented.entries]
        )
        if not found:
            detail = "no registered certificate has this hash data; send the certificate itself"
            return Refusal(finding=Finding.HASH_DATA_UNREGISTERED, detail=detail)
        if len({item.leaf_sha256 for item in found}) > 1:
            detail = "the hash data names more than one contract certificate"
            return Refusal(finding=Finding.HASH_DATA_MISMATCH, detail=detail)
        if found[0].emaid != presented.emaid.body:
            detail = "the hash data names a certificate of another eMAID"
            return Refusal(finding=Finding.EMAID_MISMATCH, detail=detail)
        return found[0].bundle

    async def _revocation_refusal(
        self, executor: Executor, call: _Call, presented: Presented, chain: ValidChain, endpoints: Endpoints
    ) -> tuple[Refusal | None, str]:
        """Judge each certificate of the path; returns the refusal and the notes of a soft policy.

        A revoked certificate is told as revoked even when another one's status is missing.
        """
        statuses = await self.inquiry.statuses(
            executor, chain, endpoints=endpoints, now=call.now, stapled=call.stapled,
            extra_urls=[entry.responder_url for entry in presented.entries],
        )  # fmt: skip
        places = ("leaf", *("sub-authority" for _ in chain.path[1:]))
        judged = [
            assess(status, policy=chain.anchor.policy, now=call.now, place=place)
            for status, place in zip(statuses, places, strict=True)
        ]
        notes = "; ".join(item.note for item in judged if item.note)
        if notes:
            notes = f"soft policy ({chain.anchor.policy_reason}): {notes}"
        refusals = [item.refusal for item in judged if item.refusal is not None]
        revoked = [refusal for refusal in refusals if refusal.finding is Finding.REVOKED]
        return next(iter(revoked or refusals), None), notes

    async def _record(
        self,
        executor: Executor,
        call: _Call,
        presented: Presented | None,
        context: Context,
        verdict: _Verdict,
    ) -> Answer:
        """Write the decision; an open one of the same contract and session is the answer instead."""
        decision = _decision(call, presented, context, verdict)
        contract = context.contract
        if decision.state is DecisionState.REFUSED:
            return Answer(decision=await self._insert(executor, decision), contract=contract)
        if self.settings.register_presented and verdict.chain is not None:
            await self._register(executor, call, context, verdict.chain)
        written = await store.insert_decision(executor, decision)
        if written is not None:
            return Answer(decision=written, contract=contract)
        held = await store.open_decision(
            executor, lane=call.lane, environment=call.environment, operator_id=call.operator_id,
            session_ref=call.session_ref,
        )  # fmt: skip
        if held is not None and held.emaid == decision.emaid:
            return Answer(decision=held, contract=contract, repeated=True)
        other = Refusal(
            finding=Finding.SESSION_OF_ANOTHER_CONTRACT, detail="the session belongs to another contract"
        )
        refused = _decision(call, presented, context, replace(verdict, refusal=other))
        return Answer(decision=await self._insert(executor, refused), contract=contract)

    async def _insert(self, executor: Executor, decision: Decision) -> Decision:
        written = await store.insert_decision(executor, decision)
        if written is None:
            raise InvariantViolation("a refused decision can't collide with an open one")
        return written

    async def _register(self, executor: Executor, call: _Call, context: Context, chain: ValidChain) -> None:
        """Register a certificate seen for the first time, so that its hash data will do next time."""
        if chain.leaf.sha256 in context.registered:
            return
        # Two certificates with one serial are their issuer's fault; the first one stays registered.
        with suppress(ConflictingRecordError):
            await registry.register(
                executor, chain, environment=call.environment, source="presented", now=call.now
            )


def match_refusal(chain: ValidChain, presented: Presented) -> Refusal | None:
    """Return the refusal when the certificate is not the eMAID's, or the hash data not the certificate's."""
    if contract_emaid(chain.leaf).body != presented.emaid.body:
        return Refusal(finding=Finding.EMAID_MISMATCH, detail="the certificate is of another eMAID")
    root = chain.anchor.certificate
    issuers = tuple(chain.issuer_of(place) for place in range(len(chain.path)))
    # Stations that hold the root name it too, as its own issuer.
    if presented.entries and not agrees(presented.entries, (*chain.path, root), (*issuers, root)):
        return Refusal(finding=Finding.HASH_DATA_MISMATCH, detail="the hash data is not the certificate's")
    return None


def _decision(call: _Call, presented: Presented | None, context: Context, verdict: _Verdict) -> Decision:
    refusal = verdict.refusal
    return Decision(
        lane=call.lane,
        id=UUID(int=uuid7().int & ~_LANE_MASK | call.lane),
        environment=call.environment,
        operator_id=call.operator_id,
        session_ref=call.session_ref,
        evse_id=call.evse_id,
        ocpp_version=call.ocpp_version,
        emaid=None if presented is None else presented.emaid.body,
        digest=None if presented is None else presented.digest,
        leaf_sha256=verdict.leaf_sha256,
        contract_id=None if context.contract is None else context.contract.contract_id,
        state=DecisionState.AWAITING_PAYMENT if refusal is None else DecisionState.REFUSED,
        finding=None if refusal is None else refusal.finding,
        detail="" if refusal is None else _storable(refusal.detail),
        notes=_storable("; ".join(filter(None, (verdict.notes, "" if refusal is None else refusal.cause)))),
        trust_version=context.trust_version,
        authorization_id=None,
        decided_at=call.now,
    )


def _storable(text: str) -> str:
    """Text from outside, fit for a column: bounded, without NUL and lone surrogates."""
    return (
        text.encode("utf-8", "replace")
        .decode("utf-8")
        .replace("\x00", "\N{REPLACEMENT CHARACTER}")[:_DETAIL_LENGTH]
    )
