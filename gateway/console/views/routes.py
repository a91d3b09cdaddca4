"""Every page and every form of the console.

Owns: the paths. Must not know what is behind one. The guard checks session and form before any of them.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from gateway.console.page import ConsolePage
from gateway.console.views import (
    books,
    developers,
    exceptions,
    keys,
    operations,
    operators,
    organization,
    overview,
    payouts,
    plug_and_charge,
    plug_and_charge_acts,
    reconciliation,
    saved_views,
    session,
    sessions,
)

_View = Callable[[ConsolePage], Awaitable[web.StreamResponse]]

PAGES: Final[Mapping[str, _View]] = {
    "/console": overview.overview,
    "/console/sessions": sessions.sessions,
    "/console/sessions/{id}": session.session,
    "/console/sessions/{id}/receipt": session.receipt_file,
    "/console/payments": sessions.payments,
    "/console/payouts": payouts.payouts,
    "/console/payouts/{id}": payouts.payout,
    "/console/payouts/{id}/statement": payouts.statement,
    "/console/flow": books.flow,
    "/console/exceptions": exceptions.exceptions,
    "/console/exceptions/{id}": exceptions.exception,
    "/console/approvals": exceptions.approvals,
    "/console/reconciliation": reconciliation.reconciliation,
    "/console/reconciliation/{id}": reconciliation.difference,
    "/console/evidence/{id}": reconciliation.evidence_file,
    "/console/ledger": books.ledger,
    "/console/documents": books.documents,
    "/console/documents/{number}": books.document_file,
    "/console/webhooks": developers.webhooks,
    "/console/webhooks/{id}": developers.webhook,
    "/console/webhooks/{id}/deliveries/{event_id}": developers.delivery,
    "/console/events": developers.events,
    "/console/events/{id}": developers.event,
    "/console/operators": operators.connections,
    "/console/operators/connections/{id}": operators.connection,
    "/console/operators/rejected": operators.rejected,
    "/console/operators/locations": operators.locations,
    "/console/operators/tariffs": operators.tariffs,
    "/console/operators/tariffs/{party}/{tariff}": operators.tariff,
    "/console/operators/meter-keys": operators.meter_keys,
    "/console/plug-and-charge": plug_and_charge.decisions,
    "/console/plug-and-charge/decisions/{id}": plug_and_charge.decision,
    "/console/plug-and-charge/contracts": plug_and_charge.contracts,
    "/console/plug-and-charge/contracts/{emaid}": plug_and_charge.contract,
    "/console/plug-and-charge/roots": plug_and_charge.roots,
    "/console/plug-and-charge/roots/{sha256}": plug_and_charge.root,
    "/console/plug-and-charge/revocation": plug_and_charge.revocation,
    "/console/keys": keys.keys,
    "/console/requests": keys.requests,
    "/console/requests/{id}": keys.request,
    "/console/parties": organization.parties,
    "/console/parties/{id}": organization.party,
    "/console/people": organization.people,
    "/console/operations": operations.operations,
}
# What an open page asks for by itself, as long as it is shown.
LIVE: Final[Mapping[str, _View]] = {"/console/operations/live": operations.live}
FORMS: Final[Mapping[str, _View]] = {
    "/console/sessions/{id}/refund": session.refund,
    "/console/sessions/{id}/retry-clearing": session.retry_clearing,
    "/console/payouts/{id}/approve": payouts.approve,
    "/console/parties/{id}/payout-holds": payouts.place_hold,
    "/console/parties/{id}/payout-holds/{hold_id}/lift": payouts.lift_hold,
    "/console/reconciliation/{id}/propose": reconciliation.propose,
    "/console/reconciliation/{id}/evidence": reconciliation.attach,
    "/console/suspense/{id}/clear": reconciliation.clear_suspense,
    "/console/saved-views": saved_views.save,
    "/console/saved-views/{id}": saved_views.delete,
    "/console/exceptions/{id}/assign": exceptions.assign,
    "/console/exceptions/{id}/resolve": exceptions.resolve,
    "/console/approvals/{id}/approve": exceptions.approve_request,
    "/console/approvals/{id}/reject": exceptions.reject_request,
    "/console/bank-details/{party}/{version}": exceptions.decide_bank_details,
    "/console/webhooks": developers.create_webhook,
    "/console/webhooks/{id}": developers.act_on_webhook,
    "/console/webhooks/{id}/deliveries/{event_id}": developers.retry_delivery,
    "/console/operators/meter-keys": operators.register_meter_key,
    "/console/operators/meter-keys/{id}": operators.act_on_meter_key,
    "/console/plug-and-charge/contracts/{emaid}": plug_and_charge_acts.act_on_contract,
    "/console/plug-and-charge/contracts/{emaid}/payment": plug_and_charge_acts.name_payment,
    "/console/plug-and-charge/contracts/{emaid}/certificates/{sha256}": plug_and_charge_acts.block_leaf,
    "/console/plug-and-charge/roots": plug_and_charge_acts.add_root,
    "/console/plug-and-charge/roots/{sha256}": plug_and_charge_acts.act_on_root,
    "/console/plug-and-charge/revocation": plug_and_charge_acts.refresh_revocation,
    "/console/keys": keys.create,
    "/console/keys/{id}": keys.act_on_key,
    "/console/webhooks/{id}/replay": developers.replay,
    "/console/people": organization.invite,
    "/console/people/{id}": organization.act_on_person,
}
