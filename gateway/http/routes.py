"""Every endpoint there is, in the order in which the documentation shows them.

Owns: the list. Must not know what is behind an entry.
"""

from gateway.http.capture import (
    authorizations,
    captures,
    disputes,
    missing_cdrs,
    quotes,
    refunds,
    remote_control,
    sessions,
)
from gateway.http.endpoint import Endpoint
from gateway.http.partners import (
    agreements,
    api_keys,
    client_certificates,
    events,
    market_clock,
    ocpi_registrations,
    parties,
    site_hosts,
    webhook_deliveries,
    webhook_endpoints,
)
from gateway.http.plug_and_charge import contract_records, contracts, revocation_sources, trust
from gateway.http.plug_and_charge import hook as plug_and_charge
from gateway.http.services import ApiServices
from gateway.http.settlement import (
    bank_details,
    bank_messages,
    debts,
    disbursement_statements,
    documents,
    funding,
    payment_releases,
    payout_holds,
    payout_terms,
    reconciliation,
    resolutions,
    summary,
)
from gateway.http.settlement import disbursements as settlement


def endpoints(services: ApiServices) -> list[Endpoint]:
    """The endpoints of this installation: those of the sandbox only in one."""
    listed = [
        *quotes.ENDPOINTS,
        *authorizations.ENDPOINTS,
        *sessions.ENDPOINTS,
        *remote_control.ENDPOINTS,
        *captures.ENDPOINTS,
        *refunds.ENDPOINTS,
        *disputes.ENDPOINTS,
        *plug_and_charge.ENDPOINTS,
        *settlement.ENDPOINTS,
        *disbursement_statements.ENDPOINTS,
        *payout_terms.ENDPOINTS,
        *payout_holds.ENDPOINTS,
        *bank_details.ENDPOINTS,
        *payment_releases.ENDPOINTS,
        *bank_messages.ENDPOINTS,
        *reconciliation.ENDPOINTS,
        *resolutions.ENDPOINTS,
        *debts.ENDPOINTS,
        *documents.ENDPOINTS,
        *events.ENDPOINTS,
        *webhook_endpoints.ENDPOINTS,
        *webhook_deliveries.ENDPOINTS,
        *parties.ENDPOINTS,
        *api_keys.ENDPOINTS,
        *client_certificates.ENDPOINTS,
        *site_hosts.ENDPOINTS,
        *missing_cdrs.ENDPOINTS,
        *agreements.ENDPOINTS,
        *funding.ENDPOINTS,
        *ocpi_registrations.ENDPOINTS,
        *trust.ENDPOINTS,
        *revocation_sources.ENDPOINTS,
        *contracts.ENDPOINTS,
        *contract_records.ENDPOINTS,
        *summary.ENDPOINTS,
    ]
    if services.options.sandbox:
        listed += market_clock.ENDPOINTS
    return listed
