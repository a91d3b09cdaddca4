"""The versions of the API and what each changed, as data.

Owns: that list. Must not know how a version is chosen or applied. A change that breaks a caller is a new
entry here, with its functions and a test of them; what only adds needs none. `docs/api/changelog.md` and
`/reference/versions` are made from it.
"""

from typing import Any, Final

from clearing.money import to_major
from gateway.version_rules import ApiVersion, VersionCatalogue, VersionChange, each, renamed

_LONGEST_TRANSACTION_ID: Final = 36  # of OCPP 2.1
_older_vat_id, _ = renamed("seat", "of_establishment")
_STATED_DIRECTLY: Final = frozenset({"operator_session", "operator_api", "platform", "payer"})


def _one_source_of_statements(session: dict[str, Any]) -> dict[str, Any]:
    """Before, whoever stated usage without a CDR had done it by the `api`."""
    usage = session.get("usage")
    if isinstance(usage, dict) and usage.get("source") in _STATED_DIRECTLY:
        session["usage"] = {**usage, "source": "api"}
    return session


def _settlement_for_the_station(settlement: dict[str, Any]) -> dict[str, Any]:
    """Before, the answer held the NotifySettlementRequest of OCPP 2.1 that its operator was to send.

    The event of a settlement never did, and has no `transaction_event_response`.
    """
    if "transaction_event_response" not in settlement:
        return settlement
    reference, receipt = settlement["session_ref"], settlement["receipt"]
    message = {
        "pspRef": settlement["id"],
        "status": settlement["status"],
        "settlementAmount": to_major(settlement["amount"], settlement["currency"]),
        "settlementTime": settlement["settled_at"],
    }
    if reference is not None and len(reference) <= _LONGEST_TRANSACTION_ID:
        message["transactionId"] = reference
    if receipt is not None:
        message["receiptId"] = receipt
    settlement["notify_settlement"] = message
    return settlement


VERSIONS: Final = VersionCatalogue(
    versions=(
        ApiVersion(name="2026-11-01", about="The first version."),
        ApiVersion(
            name="2026-11-30",
            about="Who stated a session's usage is named; settlements and VAT ids in plain terms.",
        ),
    ),
    changes=(
        VersionChange(
            version="2026-11-30",
            about="In `PartyVat`, `ids[].seat` is called `of_establishment`.",
            answers={"party_vat": each("ids", _older_vat_id)},
            breaks=frozenset({"field VatId.seat"}),
        ),
        VersionChange(
            version="2026-11-30",
            about="In `Session`, `usage.source` names who stated usage without a CDR: `operator_session`, "
            "`operator_api`, `platform` or `payer`, in place of `api`.",
            answers={"session": _one_source_of_statements},
        ),
        VersionChange(
            version="2026-11-30",
            about="`SettlementMessage` is called `SessionSettlement`. Its `notify_settlement` is gone: a "
            "station is shown the final cost by `transaction_event_response` and `cost_updated`.",
            answers={"plug_and_charge_settlement": _settlement_for_the_station},
            breaks=frozenset(
                {
                    "operation getPlugAndChargeSettlement answer 200",
                    "field SettlementMessage.amount",
                    "field SettlementMessage.currency",
                    "field SettlementMessage.evse_id",
                    "field SettlementMessage.id",
                    "field SettlementMessage.notify_settlement",
                    "field SettlementMessage.object",
                    "field SettlementMessage.receipt",
                    "field SettlementMessage.session",
                    "field SettlementMessage.session_ref",
                    "field SettlementMessage.settled_at",
                    "field SettlementMessage.status",
                }
            ),
        ),
        VersionChange(
            version="2026-11-30",
            about="`payment_method` and `customer` of an authorization's payment begin with `pm_` and "
            "`cus_`, as the PSP's ids do: others were rejected later, by the PSP. It holds in every version.",
            breaks=frozenset(
                {
                    "field MandateBody.customer",
                    "field MandateBody.payment_method",
                    "field PspPaymentMethodBody.customer",
                    "field PspPaymentMethodBody.payment_method",
                }
            ),
        ),
    ),
)
NEWEST: Final = VERSIONS.newest
