"""What a Plug & Charge session has cost so far, for the operator of its station.

Owns: which figure counts: what was captured, else the price of the CDR, else the price of the usage that is
known. Must not know HTTP, OCPP, or how a price comes about. The answer never reveals who pays.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from clearing.captured_session import AuthorizationMethod
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Pool
from gateway.payments.errors import NotFoundError, PaymentConflictError
from gateway.payments.records import SessionRecord, last_known_cdr_id
from gateway.payments.service import PaymentService
from gateway.payments.views import SessionView


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCost:
    """The cost in minor units, VAT included; `final`: the session has its CDR, or its operator's statement.

    `energy_wh` and `as_of` are what it was priced from.
    """

    session: SessionRecord
    authorization_id: UUID
    cost_limit_minor: int
    amount_minor: int
    energy_wh: int
    as_of: datetime
    final: bool


async def find_station_session(
    payments: PaymentService, *, operator_id: str, session_id: UUID, admin: bool
) -> SessionView:
    """A Plug & Charge session at one of the operator's stations; `admin` reads them all.

    Raises NotFoundError.
    """
    view = await payments.get_session(party_id=operator_id, session_id=session_id, admin=admin)
    own_station = admin or view.session.cpo_id == operator_id
    if (
        not own_station
        or view.authorization is None
        or view.authorization.authorization_method != AuthorizationMethod.PLUG_AND_CHARGE
    ):
        raise NotFoundError("there is no Plug & Charge session of this id")
    return view


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCostService:
    """Prices sessions that run, by their frozen tariff."""

    pool: Pool
    payments: PaymentService

    async def get(self, view: SessionView, *, stated_cdr: bytes | None) -> SessionCost:
        """What a session has cost.

        `stated_cdr`: the operator's own reading as a CDR of OCPI 2.2.1; None: the last update that the
        operator has pushed. Nothing is stored, and neither is ever billed: the CDR is.

        Raises:
            PaymentConflictError: no usage of the running session is known.
            CdrRejectedError: the usage can't be priced.
        """
        session, authorization = view.session, view.authorization
        if authorization is None:
            raise PaymentConflictError("the session has no authorization")
        ended = session.price_minor is not None and session.ended_at is not None
        if session.price_minor is not None and session.ended_at is not None:
            captured = view.capture is not None and view.capture.state == "succeeded"
            amount = view.capture.amount_minor if captured and view.capture else session.price_minor
            energy_wh, as_of = session.energy_wh or 0, session.ended_at
        else:
            raw, version = await self._usage(view, authorization.id, stated_cdr)
            priced = await self.payments.completions.price_cdr(session, cdr_raw=raw, cdr_version=version)
            amount, energy_wh, as_of = priced.price_minor, priced.energy_wh, priced.ended_at
        return SessionCost(
            session=session,
            authorization_id=authorization.id,
            cost_limit_minor=authorization.hold_minor,
            amount_minor=amount,
            energy_wh=energy_wh,
            as_of=as_of,
            final=ended and not session.yields_to_operator,  # captured by its last update: a CDR may come
        )

    async def _usage(
        self, view: SessionView, authorization_id: UUID, stated_cdr: bytes | None
    ) -> tuple[bytes, str]:
        if stated_cdr is not None:
            return stated_cdr, OcpiVersion.V2_2_1.value
        updates = self.payments.missing_cdrs.updates
        known = None
        if updates is not None:
            async with self.pool.acquire() as connection:
                known = await updates.find_last_update(
                    connection,
                    view.session,
                    authorization_id=authorization_id,
                    cdr_id=last_known_cdr_id(view.session.id),
                )
        if known is None:
            raise PaymentConflictError(
                "no usage of the session is known yet; state energy_wh, started_at and until in the query"
            )
        return known.cdr_raw, known.cdr_version
