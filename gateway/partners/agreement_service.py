"""Agreements stored: a version between parties that exist.

Owns: the transaction, and that each party of an agreement exists. Must not know HTTP or how a split is
computed.
"""

from dataclasses import dataclass

from clearing.parties.agreement import Agreement
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.partners.errors import UnknownAgreementPartyError


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementService:
    """Stores versions of agreements."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def create(self, agreement: Agreement) -> None:
        """Store a version; the same again changes nothing.

        Raises:
            UnknownAgreementPartyError: the CPO or the demand partner does not exist.
            ClearingConflictError: another version has this number.
        """
        async with transaction(self.pool) as connection:
            for field, party_id in (
                ("cpo", agreement.cpo_id),
                ("demand_partner", agreement.demand_partner_id),
            ):
                if party_id is None:
                    continue
                if await self.clearing.reference_data.find_party(connection, party_id) is None:
                    raise UnknownAgreementPartyError(field=field, party_id=party_id)
            await self.clearing.reference_data.put_agreement(connection, agreement, now=self.clock.now())
