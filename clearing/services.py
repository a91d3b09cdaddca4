"""Clearing's services, built once a process.

Owns: which service needs which other. Must not know: what they do. What needs no state is a function of its
module: `clearing.ledger.service`, `clearing.documents.service` and the like.
"""

from dataclasses import dataclass

from clearing.bank_transfers.message_importer import BankMessageImporter
from clearing.bank_transfers.service import BankTransferService
from clearing.exchange_rates.service import ExchangeRateService
from clearing.parties.bank_details import BankDetails
from clearing.payouts.administration import PayoutAdministration
from clearing.payouts.disbursement_service import DisbursementService
from clearing.receivables.service import ReceivablesService
from clearing.reconciliation.resolution_service import ResolutionService
from clearing.reference_data.service import ReferenceDataService
from clearing.sessions.reprice import Repricer
from clearing.sessions.service import SessionClearingService


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingServices:
    """One instance of each service, which share one cache of reference data."""

    reference_data: ReferenceDataService
    sessions: SessionClearingService
    disbursements: DisbursementService
    payouts: PayoutAdministration
    bank_messages: BankMessageImporter
    exchange_rates: ExchangeRateService
    receivables: ReceivablesService
    resolutions: ResolutionService

    def bank_transfers(self, *, debtor: BankDetails | None = None) -> BankTransferService:
        """Payment files; `debtor` is the account that pays, without which no file is created."""
        return BankTransferService(self.reference_data, self.disbursements, self.payouts, debtor=debtor)


def build_clearing(*, repricer: Repricer | None = None) -> ClearingServices:
    """Every service. `repricer`: by default sessions are priced from their stored tariff and CDR."""
    reference_data = ReferenceDataService()
    disbursements = DisbursementService(reference_data)
    payouts = PayoutAdministration(reference_data)
    transfers = BankTransferService(reference_data, disbursements, payouts)
    return ClearingServices(
        reference_data=reference_data,
        sessions=SessionClearingService(reference_data, repricer=repricer),
        disbursements=disbursements,
        payouts=payouts,
        bank_messages=BankMessageImporter(transfers, payouts),
        exchange_rates=ExchangeRateService(reference_data),
        receivables=ReceivablesService(reference_data),
        resolutions=ResolutionService(reference_data),
    )
