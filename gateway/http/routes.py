"""Every endpoint there is, in the order in which the documentation shows them.

Owns: the list. Must not know what is behind an entry.
"""

from gateway.http import (
    agreements,
    api_keys,
    authorizations,
    bank_details,
    bank_messages,
    captures,
    client_certificates,
    contract_records,
    contracts,
    debts,
    disbursement_statements,
    disputes,
    documents,
    events,
    funding,
    market_clock,
    missing_cdrs,
    ocpi_registrations,
    parties,
    payment_releases,
    payout_holds,
    payout_terms,
    plug_and_charge,
    quotes,
    reconciliation,
    refunds,
    remote_control,
    resolutions,
    revocation_sources,
    sessions,
    settlement,
    site_hosts,
    summary,
    trust,
    webhook_deliveries,
    webhook_endpoints,
)
from gateway.http.endpoint import Endpoint
from gateway.http.services import ApiServices


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
