"""CDRs to completed sessions: each is matched to its session, priced, and handed to capture.

Owns: which session a CDR belongs to, and whether it completes or corrects it. Must not know: how a CDR
arrives, how a price is computed, how money is collected, or the tasks that call this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from clearing.cdr_checks.finding import CheckCode
from clearing.pricing import json_document as document
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.ids import shard_of
from gateway.ocpi.connectors import evse_key
from gateway.ocpi.meter_check import check_meter_data_of
from gateway.ocpi.repository import cdrs, objects
from gateway.ocpi.repository.cdrs import CdrRecord, CdrStatus
from gateway.ocpi.token_authorization import TokenAuthorizationService
from gateway.ocpi.whitelisted_use import NotSecured, WhitelistedUseService, earliest_request
from gateway.payments import usage_repository
from gateway.payments.cdr_corrections import CREDITED
from gateway.payments.errors import PaymentError, SessionAlreadyCompletedError
from gateway.payments.records import SessionRecord, UsageSource
from gateway.payments.service import PaymentService
from gateway.payments.usage_repository import StatedUsage, UsageState
from gateway.payments.views import SessionView

_log = structlog.get_logger(__name__)


async def match_session(connection: Connection, cdr: CdrRecord) -> UUID | None:
    """The session that a CDR belongs to, always one at this CPO's charge points, or None.

    In this order: the CDR's authorization reference; that of the OCPI session it names; the CPO's session id
    given when the session was authorized; the driver's token, by the latest authorization given for it at
    that EVSE (2.1.1 carries no reference), which is none of days before where the CPO says that it asked
    nobody. A CDR may name its EVSE by its id alone.
    """
    references = [cdr.authorization_reference]
    if cdr.session_ref is not None:
        references.append(
            await cdrs.find_reference_of_session(connection, cpo_id=cdr.cpo_id, session_ref=cdr.session_ref)
        )
    for reference in references:
        found = await cdrs.find_session_of_reference(connection, cpo_id=cdr.cpo_id, reference=reference)
        if found is not None:
            return found
    if cdr.session_ref is not None:
        found = await cdrs.find_session_by_cpo_id(connection, cpo_id=cdr.cpo_id, session_ref=cdr.session_ref)
        if found is not None:
            return found
    contract_id, evse_uid, evse_id = _token_and_evse(cdr)
    if contract_id is not None and evse_uid is None and evse_id is not None:
        named = await objects.find_connectors(
            connection, evse_key=evse_key(evse_id), evse_uid=evse_id, party_id=cdr.cpo_id
        )
        evse_uid = named[0].evse_uid if named else None
    if contract_id is None or evse_uid is None:
        return None
    return await cdrs.find_session_of_token(
        connection,
        cpo_id=cdr.cpo_id,
        contract_id=contract_id,
        evse_uid=evse_uid,
        ended_at=cdr.ended_at,
        since=earliest_request(cdr),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrSettlementService:
    """Completes sessions by the CDRs that CPOs sent. `environment` is that of the contracts behind tokens."""

    pool: Pool
    clock: Clock
    payments: PaymentService
    environment: str

    async def settle(self, *, cpo_id: str, cdr_id: str) -> str | None:
        """Match a kept CDR and complete its session. None: done; else why it can't be done yet.

        A CDR that can't be matched or priced is marked with the reason and waits for a person. A credit CDR
        completes nothing: see `credit_cdrs`.
        """
        async with self.pool.acquire() as connection:
            cdr = await cdrs.load_cdr(connection, cpo_id, cdr_id)
            if cdr is None or cdr.credit or cdr.status is CdrStatus.COMPLETED:
                return None
            session_id = await match_session(connection, cdr)
        found = session_id or await self._whitelisted(cdr)
        if isinstance(found, NotSecured):
            if not found.pending:
                await self._mark(cdr, CdrStatus.UNMATCHED, found.reason, None)
            return found.reason if found.pending else None
        return await self.complete(cdr, found)

    async def _whitelisted(self, cdr: CdrRecord) -> UUID | NotSecured:
        """The session of a CDR that began by whitelist, secured now; else why the CDR has no session."""
        authorizer = TokenAuthorizationService(
            pool=self.pool, clock=self.clock, payments=self.payments, environment=self.environment
        )
        return await WhitelistedUseService(pool=self.pool, authorizer=authorizer).secure(cdr)

    async def complete(self, cdr: CdrRecord, session_id: UUID) -> str | None:
        """Complete or correct the session of a CDR, then start its capture.

        Returns None when it is done, else what it waits for.
        """
        try:
            view = await self.payments.get_session(party_id=cdr.cpo_id, session_id=session_id)
            rejected = await self._why_not(view.session, cdr)
            if rejected is not None:
                await self._mark(cdr, rejected[0], rejected[1], session_id)
                return None
            meter = await check_meter_data_of(cdr, view.session, payments=self.payments)
            if meter.waits_because is not None:
                await self._mark(cdr, CdrStatus.UNPRICEABLE, meter.waits_because, session_id)
                return None
            waiting_for = await self._apply(view, cdr, flags=meter.flags)
        except SessionAlreadyCompletedError as error:
            reason = f"{CheckCode.SECOND_CDR.value}: {error}"
            await self._mark(cdr, CdrStatus.UNPRICEABLE, reason, session_id)
            return None
        except PaymentError as error:
            await self._mark(cdr, CdrStatus.UNPRICEABLE, str(error), session_id)
            return None
        if isinstance(waiting_for, StatedUsage):
            waits = waiting_for.state is UsageState.EXCEPTION
            status = CdrStatus.EXCEPTION if waits else CdrStatus.REJECTED
            await self._mark(cdr, status, waiting_for.detail, session_id)
            return None
        if waiting_for is not None:
            return waiting_for
        await self._mark(cdr, CdrStatus.COMPLETED, None, session_id)
        await self.payments.capture(shard=shard_of(session_id), session_id=session_id)
        return None

    async def _why_not(self, session: SessionRecord, cdr: CdrRecord) -> tuple[CdrStatus, str] | None:
        """Why a CDR is not captured although it belongs to the session: it, or the session, was credited."""
        own = session.cdr_id is not None and session.cdr_id.lower() == cdr.cdr_id.lower()
        if own:
            return None
        async with self.pool.acquire() as connection:
            found = await cdrs.list_credits(connection, cdr.cpo_id, cdr.cdr_id)
        if found:
            reason = f"{CheckCode.CREDITED_BEFORE.value}: credit CDR {found[0]} came before it was captured"
            return CdrStatus.REJECTED, reason
        if CREDITED in session.flags:
            return (
                CdrStatus.UNPRICEABLE,
                f"{CREDITED}: CDR {session.cdr_id} was credited and refunded before this one came",
            )
        return None

    async def _replace_credited(self, session: SessionRecord) -> None:
        """Usage that waits for a person waits no longer when its CDR was credited."""
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            waiting = await usage_repository.find_waiting(
                connection, shard=session.shard, session_id=session.id
            )
            if waiting is None or waiting.source is not UsageSource.OPERATOR_CDR:
                return
            if await cdrs.list_credits(connection, waiting.cpo_id, waiting.cdr_id):
                await usage_repository.replace_usage(
                    connection, shard=session.shard, session_id=session.id, cdr_id=waiting.cdr_id, now=now
                )

    async def carry_out(self, *, shard: int, usage_id: UUID, release: bool) -> str | None:
        """Carry out what a person decided about odd usage. None: done; else what it waits for."""
        waits = await self.payments.stated_usage.carry_out(shard=shard, usage_id=usage_id, release=release)
        usage = await self.payments.stated_usage.load(shard=shard, usage_id=usage_id)
        if waits is not None or usage is None or usage.source is not UsageSource.OPERATOR_CDR:
            return waits
        async with self.pool.acquire() as connection:
            cdr = await cdrs.load_cdr(connection, usage.cpo_id, usage.cdr_id)
        if cdr is not None:
            taken = usage.state is UsageState.ACCEPTED
            status = CdrStatus.COMPLETED if taken else CdrStatus.REJECTED
            await self._mark(cdr, status, None if taken else usage.detail, usage.session_id)
        return None

    async def _apply(
        self, view: SessionView, cdr: CdrRecord, *, flags: Sequence[str]
    ) -> StatedUsage | str | None:
        """Let the CDR end its session, or correct one that a reversed CDR, an update or the payer ended."""
        session = view.session
        await self._replace_credited(session)
        if session.cdr_id is not None and session.cdr_id.lower() != cdr.cdr_id.lower():
            async with self.pool.acquire() as connection:
                reversed_by = await cdrs.list_credits(connection, cdr.cpo_id, session.cdr_id)
            if reversed_by or session.yields_to_operator:
                return await self.payments.cdr_corrections.correct(
                    session, cdr_raw=cdr.raw, cdr_version=cdr.version.value
                )
        ended = await self.payments.completions.complete(
            view, cdr_raw=cdr.raw, cdr_version=cdr.version.value, flags=flags
        )
        return ended if isinstance(ended, StatedUsage) else None

    async def _mark(
        self, cdr: CdrRecord, status: CdrStatus, reason: str | None, session_id: UUID | None
    ) -> None:
        if reason is not None:
            _log.warning(
                "cdr_not_completed", cpo=cdr.cpo_id, cdr=cdr.cdr_id, status=status.value, reason=reason
            )
        async with self.pool.acquire() as connection:
            await cdrs.mark_cdr(
                connection,
                cdr.cpo_id,
                cdr.cdr_id,
                status=status,
                reason=reason,
                session_id=session_id,
                now=self.clock.now(),
            )


def _token_and_evse(cdr: CdrRecord) -> tuple[str | None, str | None, str | None]:
    """The contract of the driver's token, and the EVSE's uid and id, that a CDR names."""
    tree = document.load(cdr.raw, document="CDR")
    if cdr.version is OcpiVersion.V2_1_1:
        location = tree.get("location")
        evses = location.get("evses") if isinstance(location, dict) else None
        evse = evses[0] if isinstance(evses, list) and evses else None
        place = evse if isinstance(evse, dict) else {}
        found = (tree.get("auth_id"), place.get("uid"), place.get("evse_id"))
    else:
        token, at = tree.get("cdr_token"), tree.get("cdr_location")
        place = at if isinstance(at, dict) else {}
        contract = token.get("contract_id") if isinstance(token, dict) else None
        found = (contract, place.get("evse_uid"), place.get("evse_id"))
    contract, evse_uid, evse_id = (value if isinstance(value, str) else None for value in found)
    return contract, evse_uid, evse_id
