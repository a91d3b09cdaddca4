"""The service: one decision for one call, recorded; then the conclusion, once the payment is secured or not.

Owns the order of a decision. Must not know HTTP, and makes no network call inside a database transaction:
give `decide` a pool, so that no connection is kept during a request to a responder. Between `decide` and
`conclude` the caller secures the payment.
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

from pnc import certificate_registry
from pnc.authorization import (
    AuthorizationDecision,
    AuthorizationDecisionEvent,
    AuthorizationDecisionState,
    OfflineStart,
    PresentedContract,
    Step,
    advance,
    next_step,
    read_request,
    shard_of,
)
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.contract import Contract, contract_rejection
from pnc.contract_authority import UNNAMED, IssuingRight, issuing_right, right_rejection
from pnc.contract_lookup import resolve_emaid
from pnc.errors import ConflictingRecordError, PncInvariantViolation, UnfitCallError, UnknownRecordError
from pnc.hash_data import agrees
from pnc.ports import Executor, one_connection
from pnc.profile import ProfileRules, contract_emaid
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.repository import certificates, decisions, revocation, trust
from pnc.repository.decisions import DecisionContext
from pnc.revocation_checker import RevocationChecker
from pnc.revocation_endpoints import RevocationEndpoints
from pnc.revocation_evidence import assess
from pnc.session_limits import blocked_meanwhile, insert_within_limits, stopped_since

_SHARD_MASK: Final = 63
_REFERENCE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_DETAIL_LENGTH: Final = 500
_DIN: Final = "the eMAID is written in the DIN form, which has two published mappings"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugAndChargeSettings:
    """What the operator of this system may choose."""

    rules: ProfileRules = field(default_factory=ProfileRules)
    repeat_for: timedelta = timedelta(hours=24)
    register_presented: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionResult:
    """A decision with the contract it is about; `repeated` when it was made by an earlier call."""

    decision: AuthorizationDecision
    contract: Contract | None
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call, as it runs through a decision."""

    shard: int
    environment: str
    operator_id: str
    session_ref: str
    evse_id: str
    ocpp_version: str
    now: datetime
    stapled: Sequence[bytes]
    evse_ids: tuple[str, ...]
    offline: OfflineStart | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    """The result of evaluating a proof: the rejection, or a valid chain."""

    rejection: ContractRejection | None
    leaf_sha256: bytes | None = None
    notes: str = ""
    chain: ValidChain | None = None


@dataclass(slots=True)
class PlugAndChargeService:
    """Decides whether a presented contract may charge."""

    revocation_checker: RevocationChecker
    settings: PlugAndChargeSettings = field(default_factory=PlugAndChargeSettings)
    _verifiers: dict[str, tuple[ChainVerifier, RevocationEndpoints]] = field(default_factory=dict)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def decide(
        self,
        executor: Executor,
        *,
        environment: str,
        operator_id: str,
        session_ref: str,
        evse_id: str,
        ocpp_version: str,
        request: Mapping[str, object],
        now: datetime,
        stapled: Sequence[bytes] = (),
        evse_ids: tuple[str, ...] = (),
        offline: OfflineStart | None = None,
    ) -> DecisionResult:
        """Decide one AuthorizeRequest that passed its schema, and record the decision.

        `executor` is a pool, or a connection with no transaction open. `operator_id` is the authenticated
        operator of the station; sessions of different operators are separate. `stapled` are OCSP responses
        in DER that came with the request. `now` is aware. `evse_ids`: the station's EVSEs, `evse_id` among
        them, where it has not named the session's.

        When `answer.decision.payment_needed`, secure the payment of `answer.contract` and call `conclude`;
        the decision's id is the payment's idempotency key, since a repeated call gets the same decision.

        Raises:
            UnfitCallError: `session_ref` or `evse_id` is not 1 to 255 printable ASCII characters.
            PncInvariantViolation: a transaction is open.
        """
        in_transaction = getattr(executor, "is_in_transaction", None)
        if in_transaction is not None and in_transaction():
            raise PncInvariantViolation("decide() calls the network and can't run inside a transaction")
        for path, text in (("session_ref", session_ref), ("station.evse_id", evse_id)):
            if _REFERENCE.fullmatch(text) is None:
                raise UnfitCallError(path=path, problem="expected 1 to 255 printable ASCII characters")
        call = _Call(
            shard=shard_of(environment=environment, operator_id=operator_id, session_ref=session_ref),
            environment=environment,
            operator_id=operator_id,
            session_ref=session_ref,
            evse_id=evse_id,
            ocpp_version=ocpp_version,
            now=now,
            stapled=stapled,
            evse_ids=evse_ids,
            offline=offline,
        )
        presented = await self._presented(executor, call, request)
        emaid = presented.emaid.body if isinstance(presented, PresentedContract) else None
        context = await decisions.load_context(
            executor,
            shard=call.shard,
            environment=environment,
            operator_id=operator_id,
            session_ref=session_ref,
            emaid=emaid,
        )
        if isinstance(presented, ContractRejection):
            return await self._record(executor, call, None, context, _Evaluation(rejection=presented))
        step = next_step(context.prior, presented, now=now, repeat_for=self.settings.repeat_for)
        if isinstance(step, ContractRejection):
            return await self._record(executor, call, presented, context, _Evaluation(rejection=step))
        if step is Step.REPEAT and context.prior is not None:
            stopped = stopped_since(context, context.prior)
            if stopped is not None:
                return await self._record(executor, call, presented, context, _Evaluation(rejection=stopped))
            return DecisionResult(decision=context.prior, contract=context.contract, repeated=True)
        evaluation = await self._evaluate(executor, call, presented, context)
        return await self._record(executor, call, presented, context, evaluation)

    async def _presented(
        self, executor: Executor, call: _Call, request: Mapping[str, object]
    ) -> PresentedContract | ContractRejection:
        """Read what the request presents, a DIN eMAID under the body of its contract."""
        presented = read_request(request, strict_check_digit=self.settings.rules.strict_check_digit)
        if isinstance(presented, ContractRejection):
            return presented
        try:
            emaid = await resolve_emaid(executor, presented.emaid, environment=call.environment)
        except ConflictingRecordError as problem:
            return ContractRejection(
                rejection_reason=RejectionReason.MALFORMED_EMAID, detail=f"idToken.idToken: {problem}"
            )
        return replace(presented, emaid=emaid)

    async def conclude(
        self,
        executor: Executor,
        decision_id: UUID,
        *,
        secured: bool,
        authorization_id: str | None,
        now: datetime,
        detail: str = "",
        rejection: ContractRejection | None = None,
    ) -> AuthorizationDecision:
        """Record how securing the payment ended; the same conclusion again changes nothing.

        `authorization_id` is the public id of the payment authorization, needed when secured; `rejection` is
        why the payment was not even tried. May run inside the caller's transaction.

        A contract or certificate that was blocked while the payment was secured is rejected all the same:
        the decision returned is then not accepted, and the caller releases what it held.

        Raises:
            UnknownRecordError: there is no such decision.
            ConflictingRecordError: the decision was concluded otherwise.
            PncInvariantViolation: secured without an authorization.
        """
        if secured and authorization_id is None:
            raise PncInvariantViolation("a secured payment has an authorization")
        shard = decision_id.int & _SHARD_MASK
        async with one_connection(executor) as connection, connection.transaction():
            if secured:
                rejection = await blocked_meanwhile(connection, shard=shard, decision_id=decision_id, now=now)
            event = (
                AuthorizationDecisionEvent.PAYMENT_SECURED
                if secured and rejection is None
                else AuthorizationDecisionEvent.PAYMENT_DECLINED
            )
            target = advance(AuthorizationDecisionState.AWAITING_PAYMENT, event)
            reason = RejectionReason.PAYMENT_NOT_SECURED if rejection is None else rejection.rejection_reason
            accepted = target is AuthorizationDecisionState.ACCEPTED
            concluded = await decisions.conclude_decision(
                connection,
                shard=shard,
                decision_id=decision_id,
                state=target,
                authorization_id=authorization_id if accepted else None,
                rejection_reason=None if accepted else reason,
                detail=(detail if rejection is None else rejection.detail)[:_DETAIL_LENGTH],
                now=now,
            )
            if concluded is not None:
                return concluded
            known = await decisions.load_decision(connection, shard=shard, decision_id=decision_id)
        if known is None:
            raise UnknownRecordError(f"there is no decision {decision_id}")
        if known.state is target and known.authorization_id == (authorization_id if accepted else None):
            return known
        raise ConflictingRecordError(f"decision {decision_id} is {known.state.value} already")

    async def refresh_statuses(
        self, executor: Executor, *, environment: str, now: datetime, batch: int = 50
    ) -> int:
        """Refresh the status of registered certificates that ends soon.

        Returns how many chains were checked.
        """
        due = await revocation.list_due_bundles(
            executor,
            environment=environment,
            now=now,
            ends_before=now + self.revocation_checker.settings.refresh_before,
            batch=batch,
        )
        verifier, endpoints = await self.load_trust(executor, environment=environment)
        refreshed = 0
        for bundle in due:
            chain = verifier.verify(bundle, now=now)
            if isinstance(chain, ValidChain):
                await self.revocation_checker.refresh(executor, chain, endpoints=endpoints, now=now)
                refreshed += 1
        return refreshed

    async def load_trust(
        self, executor: Executor, *, environment: str, at_least: int = 0
    ) -> tuple[ChainVerifier, RevocationEndpoints]:
        """Return the verifier of an environment, loaded again when its version is older than `at_least`."""
        known = self._verifiers.get(environment)
        if known is not None and 0 < at_least <= known[0].trust.version:
            return known
        async with self._loading:
            known = self._verifiers.get(environment)
            if known is None or at_least == 0 or known[0].trust.version < at_least:
                snapshot, endpoints = await trust.load_trust(executor, environment=environment)
                if known is None or known[0].trust.version != snapshot.version:
                    known = (ChainVerifier(trust=snapshot, rules=self.settings.rules), endpoints)
                    self._verifiers[environment] = known
        return known

    async def _evaluate(
        self, executor: Executor, call: _Call, presented: PresentedContract, context: DecisionContext
    ) -> _Evaluation:
        """Evaluate a proof: chain, eMAID, hash data, revocation, contract, in this order."""
        verifier, endpoints = await self.load_trust(
            executor, environment=call.environment, at_least=context.trust_version
        )
        bundle = presented.bundle
        if bundle is None:
            found = await self._registered_bundle(executor, call, presented)
            if isinstance(found, ContractRejection):
                return _Evaluation(rejection=found)
            bundle = found
        chain = verifier.verify(bundle, now=call.now)
        if isinstance(chain, ContractRejection):
            return _Evaluation(rejection=chain)
        leaf = chain.leaf.sha256
        if (rejection := match_rejection(chain, presented)) is not None:
            return _Evaluation(rejection=rejection, leaf_sha256=leaf)
        if leaf in context.blocked:
            detail = "the certificate is blocked"
            return _Evaluation(
                rejection=ContractRejection(
                    rejection_reason=RejectionReason.CERTIFICATE_BLOCKED, detail=detail
                ),
                leaf_sha256=leaf,
            )
        right = issuing_right(chain)
        if (rejection := right_rejection(right, registered=leaf in context.registered)) is not None:
            return _Evaluation(rejection=rejection, leaf_sha256=leaf)
        rejection, notes = await self._revocation_rejection(executor, call, presented, chain, endpoints)
        if rejection is None:
            rejection = contract_rejection(context.contract, call.now)
        warnings = (
            UNNAMED if right is IssuingRight.UNNAMED else "",
            _DIN if presented.emaid.alternative is not None else "",
        )
        notes = "; ".join(filter(None, (*warnings, notes)))
        return _Evaluation(rejection=rejection, leaf_sha256=leaf, notes=notes, chain=chain)

    async def _registered_bundle(
        self, executor: Executor, call: _Call, presented: PresentedContract
    ) -> str | ContractRejection:
        """Find the registered chain that hash data refers to; hash data alone proves no eMAID."""
        found = await certificates.find_certificates_by_hash(
            executor, environment=call.environment, names=[entry.certificate for entry in presented.entries]
        )
        if not found:
            detail = "no registered certificate has this hash data; send the certificate itself"
            return ContractRejection(rejection_reason=RejectionReason.HASH_DATA_UNREGISTERED, detail=detail)
        if len({item.leaf_sha256 for item in found}) > 1:
            detail = "the hash data names more than one contract certificate"
            return ContractRejection(rejection_reason=RejectionReason.HASH_DATA_MISMATCH, detail=detail)
        if found[0].emaid != presented.emaid.body:
            detail = "the hash data names a certificate of another eMAID"
            return ContractRejection(rejection_reason=RejectionReason.EMAID_MISMATCH, detail=detail)
        return found[0].bundle

    async def _revocation_rejection(
        self,
        executor: Executor,
        call: _Call,
        presented: PresentedContract,
        chain: ValidChain,
        endpoints: RevocationEndpoints,
    ) -> tuple[ContractRejection | None, str]:
        """Assess each certificate of the path; returns the rejection and the notes of a soft policy.

        A revoked certificate is reported as revoked even when another one's status is missing.
        """
        statuses = await self.revocation_checker.find_statuses(
            executor,
            chain,
            endpoints=endpoints,
            now=call.now,
            stapled=call.stapled,
            extra_urls=[entry.responder_url for entry in presented.entries],
        )
        places = ("leaf", *("sub-authority" for _ in chain.path[1:]))
        assessments = [
            assess(status, policy=chain.anchor.policy, now=call.now, place=place)
            for status, place in zip(statuses, places, strict=True)
        ]
        notes = "; ".join(item.note for item in assessments if item.note)
        if notes:
            notes = f"soft policy ({chain.anchor.policy_reason}): {notes}"
        rejections = [item.rejection for item in assessments if item.rejection is not None]
        revoked = [
            rejection for rejection in rejections if rejection.rejection_reason is RejectionReason.REVOKED
        ]
        return next(iter(revoked or rejections), None), notes

    async def _record(
        self,
        executor: Executor,
        call: _Call,
        presented: PresentedContract | None,
        context: DecisionContext,
        evaluation: _Evaluation,
    ) -> DecisionResult:
        """Store the decision; an open one of the same contract and session is returned instead."""
        decision = _decision(call, presented, context, evaluation)
        contract = context.contract
        if decision.state is AuthorizationDecisionState.REJECTED:
            return DecisionResult(decision=await self._insert(executor, decision), contract=contract)
        if self.settings.register_presented and evaluation.chain is not None:
            await self._register(executor, call, context, evaluation.chain)
        stored = await insert_within_limits(executor, decision, contract)
        if isinstance(stored, ContractRejection):
            limited = _decision(call, presented, context, replace(evaluation, rejection=stored))
            return DecisionResult(decision=await self._insert(executor, limited), contract=contract)
        if stored is not None:
            return DecisionResult(decision=stored, contract=contract)
        prior = await decisions.open_decision(
            executor,
            shard=call.shard,
            environment=call.environment,
            operator_id=call.operator_id,
            session_ref=call.session_ref,
        )
        if prior is not None and prior.emaid == decision.emaid:
            return DecisionResult(decision=prior, contract=contract, repeated=True)
        of_another = ContractRejection(
            rejection_reason=RejectionReason.SESSION_OF_ANOTHER_CONTRACT,
            detail="the session belongs to another contract",
        )
        rejected = _decision(call, presented, context, replace(evaluation, rejection=of_another))
        return DecisionResult(decision=await self._insert(executor, rejected), contract=contract)

    async def _insert(self, executor: Executor, decision: AuthorizationDecision) -> AuthorizationDecision:
        stored = await decisions.insert_decision(executor, decision)
        if stored is None:
            raise PncInvariantViolation("a rejected decision can't collide with an open one")
        return stored

    async def _register(
        self, executor: Executor, call: _Call, context: DecisionContext, chain: ValidChain
    ) -> None:
        """Register a certificate at first sight, so that its hash data is accepted next time."""
        if context.contract is None or chain.leaf.sha256 in context.registered:
            return
        # Two certificates with one serial are an error of their issuer; the first one stays registered.
        with suppress(ConflictingRecordError):
            await certificate_registry.register(
                executor,
                chain,
                environment=call.environment,
                emaid=context.contract.emaid,
                source="presented",
                now=call.now,
            )


def match_rejection(chain: ValidChain, presented: PresentedContract) -> ContractRejection | None:
    """Return the rejection when certificate and eMAID, or hash data and certificate, differ."""
    # The certificate decides: a DIN eMAID's other mapping may be somebody else's contract.
    if presented.emaid.body not in contract_emaid(chain.leaf).bodies:
        return ContractRejection(
            rejection_reason=RejectionReason.EMAID_MISMATCH, detail="the certificate is of another eMAID"
        )
    root = chain.anchor.certificate
    issuers = tuple(chain.issuer_of(place) for place in range(len(chain.path)))
    # Stations that hold the root name it too, as its own issuer.
    if presented.entries and not agrees(presented.entries, (*chain.path, root), (*issuers, root)):
        return ContractRejection(
            rejection_reason=RejectionReason.HASH_DATA_MISMATCH,
            detail="the hash data is not the certificate's",
        )
    return None


def _decision(
    call: _Call, presented: PresentedContract | None, context: DecisionContext, evaluation: _Evaluation
) -> AuthorizationDecision:
    rejection = evaluation.rejection
    return AuthorizationDecision(
        shard=call.shard,
        id=UUID(int=uuid7().int & ~_SHARD_MASK | call.shard),
        environment=call.environment,
        operator_id=call.operator_id,
        session_ref=call.session_ref,
        evse_id=call.evse_id,
        ocpp_version=call.ocpp_version,
        emaid=None if presented is None else presented.emaid.body,
        digest=None if presented is None else presented.digest,
        leaf_sha256=evaluation.leaf_sha256,
        contract_id=None if context.contract is None else context.contract.contract_id,
        state=AuthorizationDecisionState.AWAITING_PAYMENT
        if rejection is None
        else AuthorizationDecisionState.REJECTED,
        rejection_reason=None if rejection is None else rejection.rejection_reason,
        detail="" if rejection is None else _storable(rejection.detail),
        notes=_storable(
            "; ".join(filter(None, (evaluation.notes, "" if rejection is None else rejection.cause)))
        ),
        trust_version=context.trust_version,
        authorization_id=None,
        decided_at=call.now,
        evse_ids=call.evse_ids,
        offline_since=None if call.offline is None else call.offline.started_at,
        offline_reason=None if call.offline is None else call.offline.reason,
    )


def _storable(text: str) -> str:
    """Text from outside, made storable: bounded, without NUL and lone surrogates."""
    return (
        text.encode("utf-8", "replace")
        .decode("utf-8")
        .replace("\x00", "\N{REPLACEMENT CHARACTER}")[:_DETAIL_LENGTH]
    )
