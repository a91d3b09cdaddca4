"""Every endpoint there is, in the order in which the documentation shows them.

Owns: the list. Must not know what is behind an entry.
"""

from gateway.api.capture import (
    authorizations,
    bookings,
    buyers,
    captures,
    charging_preferences,
    customers,
    disputes,
    double_taps,
    driver_pages,
    evses,
    missing_cdrs,
    qr_codes,
    quotes,
    refunds,
    remote_control,
    sessions,
    setups,
    terminals,
)
from gateway.api.documents import buyer_pages, documents
from gateway.api.endpoint import ApiEndpoint
from gateway.api.operations import acts, cdr_limits, exceptions, personal_data
from gateway.api.partners import (
    agreements,
    api_keys,
    client_certificates,
    events,
    market_clock,
    meter_keys,
    ocpi_registrations,
    ocpi_tokens,
    parties,
    people,
    site_hosts,
    webhook_deliveries,
    webhook_endpoints,
)
from gateway.api.payouts import (
    bank_details,
    connected_accounts,
    disbursement_approvals,
    funding,
    party_checks,
    payout_holds,
    payout_terms,
    settlement_statements,
)
from gateway.api.payouts import disbursements as settlement
from gateway.api.plug_and_charge import authorize as plug_and_charge
from gateway.api.plug_and_charge import (
    contract_authorities,
    contract_pools,
    contract_records,
    contracts,
    ocpp_messages,
    providers,
    receipts,
    revocation_sources,
    roots,
    session_cost,
    trust,
    trust_lists,
)
from gateway.api.reconciliation import bank_messages, books, differences, receivables, resolutions, summary


def endpoints(*, sandbox: bool) -> list[ApiEndpoint]:
    """The endpoints of an installation: setting business time only in a sandbox."""
    listed = [
        *evses.ENDPOINTS,
        *qr_codes.ENDPOINTS,
        *quotes.ENDPOINTS,
        *authorizations.ENDPOINTS,
        *setups.ENDPOINTS,
        *buyers.ENDPOINTS,
        *buyer_pages.ENDPOINTS,
        *customers.ENDPOINTS,
        *sessions.ENDPOINTS,
        *terminals.ENDPOINTS,
        *remote_control.ENDPOINTS,
        *bookings.ENDPOINTS,
        *charging_preferences.ENDPOINTS,
        *captures.ENDPOINTS,
        *refunds.ENDPOINTS,
        *disputes.ENDPOINTS,
        *plug_and_charge.ENDPOINTS,
        *ocpp_messages.ENDPOINTS,
        *session_cost.ENDPOINTS,
        *receipts.ENDPOINTS,
        *contract_authorities.ENDPOINTS,
        *providers.ENDPOINTS,
        *trust_lists.ENDPOINTS,
        *roots.ENDPOINTS,
        *settlement.ENDPOINTS,
        *settlement_statements.ENDPOINTS,
        *payout_terms.ENDPOINTS,
        *party_checks.ENDPOINTS,
        *payout_holds.ENDPOINTS,
        *connected_accounts.ENDPOINTS,
        *bank_details.ENDPOINTS,
        *disbursement_approvals.ENDPOINTS,
        *bank_messages.ENDPOINTS,
        *differences.ENDPOINTS,
        *resolutions.ENDPOINTS,
        *receivables.ENDPOINTS,
        *documents.ENDPOINTS,
        *exceptions.ENDPOINTS,
        *acts.ENDPOINTS,
        *events.ENDPOINTS,
        *webhook_endpoints.ENDPOINTS,
        *webhook_deliveries.ENDPOINTS,
        *parties.ENDPOINTS,
        *api_keys.ENDPOINTS,
        *client_certificates.ENDPOINTS,
        *people.ENDPOINTS,
        *site_hosts.ENDPOINTS,
        *cdr_limits.ENDPOINTS,
        *personal_data.ENDPOINTS,
        *missing_cdrs.ENDPOINTS,
        *double_taps.ENDPOINTS,
        *driver_pages.ENDPOINTS,
        *agreements.ENDPOINTS,
        *meter_keys.ENDPOINTS,
        *funding.ENDPOINTS,
        *ocpi_registrations.ENDPOINTS,
        *ocpi_tokens.ENDPOINTS,
        *trust.ENDPOINTS,
        *revocation_sources.ENDPOINTS,
        *contracts.ENDPOINTS,
        *contract_records.ENDPOINTS,
        *contract_pools.ENDPOINTS,
        *summary.ENDPOINTS,
        *books.ENDPOINTS,
    ]
    if sandbox:
        listed += market_clock.ENDPOINTS
    return listed
