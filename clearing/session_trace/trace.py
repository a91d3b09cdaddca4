"""The record of one session's trace: the originals and the proofs, ready to be written as JSON.

Owns: the format. Must not know: the store, whether what it says holds (`verification`).

    {"format": "session-trace-1", "session", "cpo", "currency", "time_zone",
     "tariff": {"version", "sha256", "base64"}, "cdr": {"version", "base64"},
     "meter_keys": [...], "capture": {"price_minor", "amount_minor", "psp_charge"} or null,
     "batches": [as in a statement, every transfer of the session shown], "payables": [...]}
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from clearing.identifiers import format_id
from clearing.ledger.account_statement import StatementBatch
from clearing.ledger.journal_entry import payable_path
from clearing.meter_data.registered_key import RegisteredKey
from clearing.parties.party import PartyKind

FORMAT: Final = "session-trace-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedSession:
    """A session as the gateway has it: its originals, its price and its capture in minor units."""

    session_id: UUID
    cpo_id: str
    currency: str
    time_zone: str
    tariff_version: str
    tariff_sha256: str
    tariff: bytes
    cdr_version: str
    cdr: bytes
    price_minor: int
    captured_minor: int | None
    psp_charge: str | None


def trace_record(
    session: TracedSession,
    *,
    keys: Sequence[RegisteredKey],
    batches: Sequence[StatementBatch],
    payables: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Everything about one session as values that JSON has."""
    capture = None
    if session.captured_minor is not None:
        capture = {
            "price_minor": session.price_minor,
            "amount_minor": session.captured_minor,
            "psp_charge": session.psp_charge,
        }
    return {
        "format": FORMAT,
        "session": format_id("ses", session.session_id),
        "session_id": str(session.session_id),
        "cpo": session.cpo_id,
        "currency": session.currency,
        "time_zone": session.time_zone,
        "tariff": {
            "version": session.tariff_version,
            "sha256": session.tariff_sha256,
            "base64": base64.b64encode(session.tariff).decode(),
        },
        "cdr": {"version": session.cdr_version, "base64": base64.b64encode(session.cdr).decode()},
        "meter_keys": [_key(key) for key in keys],
        "capture": capture,
        "batches": [_batch(batch) for batch in batches],
        "payables": [_payable(row) for row in payables],
    }


def _key(key: RegisteredKey) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "meter_serial": key.identity.meter_serial,
        "gateway_serial": key.identity.gateway_serial,
        "charge_point_id": key.identity.charge_point_id,
        "curve": key.curve,
        "public_key": key.der.hex(),
        "source": key.source.value,
        "state": key.state.value,
        "valid_from": key.valid_from.isoformat(),
        "valid_to": None if key.valid_to is None else key.valid_to.isoformat(),
        "entered_by": key.entered_by,
        "entered_at": key.entered_at.isoformat(),
    }


def _batch(batch: StatementBatch) -> dict[str, Any]:
    return {
        "batch": str(batch.batch),
        "chain": batch.chain,
        "position": batch.position,
        "booked_at": batch.booked_at.isoformat(),
        "previous_hash": batch.previous_hash.hex(),
        "hash": batch.hash.hex(),
        "entries": [
            {
                "subject_id": str(entry.subject_id),
                "kind": entry.kind,
                "reference": entry.reference,
                "tariff_sha256": entry.tariff_sha256,
                "cdr_id": entry.cdr_id,
                "legs_sha256": entry.legs_sha256,
                "transfers": [
                    {
                        "debit": transfer.debit_account,
                        "credit": transfer.credit_account,
                        "minor": transfer.amount_minor,
                        "currency": transfer.currency,
                        "blind": blind.hex(),
                    }
                    for transfer, blind in entry.transfers
                ],
                "path": [[side, sibling.hex()] for side, sibling in entry.path],
            }
            for entry in batch.entries
        ],
    }


def _payable(row: Mapping[str, Any]) -> dict[str, Any]:
    paid = None
    if row["disbursement_id"] is not None:
        paid = {
            "id": format_id("dis", row["disbursement_id"]),
            "state": row["state"],
            "rail": row["rail"],
            "amount_minor": row["paid_minor"],
            "end_to_end_id": row["end_to_end_id"],
            "rail_reference": row["rail_reference"],
            "finished_at": None if row["finished_at"] is None else row["finished_at"].isoformat(),
            "statement_sha256": row["sha256"],
            "bank_line": _bank_line(row),
        }
    return {
        "kind": row["kind"],
        "reference": row["reference"],
        "party": row["party_id"],
        "account": payable_path(PartyKind(row["party_kind"]), row["party_id"]),
        "amount_minor": row["amount_minor"],
        "currency": row["currency"],
        "due_date": row["due_date"].isoformat(),
        "disbursement": paid,
    }


def _bank_line(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if row["line_id"] is None:
        return None
    return {
        "id": row["line_id"],
        "day": row["line_day"].isoformat(),
        "amount_minor": row["line_minor"],
    }
