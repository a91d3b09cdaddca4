"""Every endpoint there is, in the order in which the documentation shows them.

Owns: the list. Must not know what is behind an entry.
"""

from typing import Final

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
    operators,
    parties,
    people,
    request_log,
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
from gateway.api.reconciliation import (
    bank_messages,
    books,
    differences,
    evidence,
    receivables,
    resolutions,
    summary,
)

# Every resource, in the order in which the description of the API lists them.
_RESOURCES: Final = (
    evses,
    qr_codes,
    quotes,
    authorizations,
    setups,
    buyers,
    buyer_pages,
    customers,
    sessions,
    terminals,
    remote_control,
    bookings,
    charging_preferences,
    captures,
    refunds,
    disputes,
    plug_and_charge,
    ocpp_messages,
    session_cost,
    receipts,
    contract_authorities,
    providers,
    trust_lists,
    roots,
    settlement,
    settlement_statements,
    payout_terms,
    party_checks,
    payout_holds,
    connected_accounts,
    bank_details,
    disbursement_approvals,
    bank_messages,
    differences,
    evidence,
    resolutions,
    receivables,
    documents,
    exceptions,
    acts,
    events,
    request_log,
    webhook_endpoints,
    webhook_deliveries,
    parties,
    api_keys,
    client_certificates,
    people,
    site_hosts,
    cdr_limits,
    personal_data,
    missing_cdrs,
    double_taps,
    driver_pages,
    agreements,
    meter_keys,
    funding,
    ocpi_registrations,
    ocpi_tokens,
    operators,
    trust,
    revocation_sources,
    contracts,
    contract_records,
    contract_pools,
    summary,
    books,
)


def endpoints(*, sandbox: bool) -> list[ApiEndpoint]:
    """The endpoints of an installation: setting business time only in a sandbox."""
    resources = (*_RESOURCES, market_clock) if sandbox else _RESOURCES
    return [endpoint for resource in resources for endpoint in resource.ENDPOINTS]
