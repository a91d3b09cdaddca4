"""Verifying a session's trace offline: meter, CDR, price, capture, entry, payout, bank line.

Owns: what a reader of the record can check with nothing but the record. Must not know: the store, networks.
The meter's keys are shown with their source: compare them with the authority's list. A payout nets many
sessions: that it is the sum of them is in its settlement statement, whose seal is named.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from clearing.errors import ClearingError
from clearing.ledger import hash_chain
from clearing.ledger.journal_entry import SESSION_TRANSIT, Transfer
from clearing.meter_data.check import check_meter_data, facts_of
from clearing.meter_data.findings import MeterVerdict
from clearing.meter_data.registered_key import MeterIdentity, MeterKeySource, MeterKeyState, RegisteredKey
from clearing.meter_data.signed_data import read_signed_data
from clearing.money import to_major
from clearing.pricing.cdr import Cdr, parse_cdr
from clearing.pricing.engine import price
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.program import compile_tariff
from clearing.pricing.tariff import parse_tariff
from clearing.session_trace.trace import FORMAT

_CAPTURE: Final = "capture"
_BROKEN: Final = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    IndexError,
    RecursionError,
)
_DONE: Final = frozenset({"paid", "returned"})


class StepState(StrEnum):
    """What a link of the trace is."""

    PROVED = "proved"
    UNPROVED = "unproved"  # there, and not proven by the record alone
    MISSING = "missing"  # not there, or not yet
    FAILED = "failed"  # contradicts the record


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStep:
    """One link: its name, whether it holds, and a sentence."""

    name: str
    state: StepState
    text: str


_Found = tuple[StepState, str]


class _FailedError(Exception):
    """A link that does not hold; its text says why."""


def verify_trace(record: Any) -> list[TraceStep]:
    """Every link of a trace, from the meter to the bank. Raises nothing, whatever the record holds."""
    if not isinstance(record, Mapping) or record.get("format") != FORMAT:
        return [TraceStep(name="trace", state=StepState.FAILED, text=f"is not of the format {FORMAT}")]
    steps: tuple[tuple[str, Callable[[Mapping[str, Any]], _Found]], ...] = (
        ("meter", _meter),
        ("cdr", _cdr),
        ("price", _price),
        ("capture", _capture),
        ("entry", _entries),
        ("payout", _payouts),
        ("bank line", _bank_lines),
    )
    found = []
    for name, check in steps:
        try:
            state, text = check(record)
        except _FailedError as error:
            state, text = StepState.FAILED, str(error)
        except (*_BROKEN, ClearingError) as error:
            state, text = StepState.FAILED, f"can't be read: {error!r}"[:300]
        found.append(TraceStep(name=name, state=state, text=text))
    return found


def _meter(record: Mapping[str, Any]) -> _Found:
    raw, cdr = _read_cdr(record)
    check = check_meter_data(
        read_signed_data(raw), keys=[_key(record, one) for one in record["meter_keys"]], facts=facts_of(cdr)
    )
    if check.verdict is MeterVerdict.MISSING:
        return StepState.MISSING, "the CDR carries no signed meter data"
    if check.verdict is MeterVerdict.VERIFIED and check.measured is not None:
        source = next(one["source"] for one in record["meter_keys"] if one["id"] == str(check.key_id))
        text = (
            f"meter {check.measured.meter_serial} signed {check.measured.energy_kwh:f} kWh, key from {source}"
        )
        return StepState.PROVED, text
    text = f"{check.verdict}: {', '.join(check.codes)}"
    failed = check.verdict in {MeterVerdict.BAD, MeterVerdict.ENERGY_DIFFERS}
    return (StepState.FAILED if failed else StepState.UNPROVED), text


def _cdr(record: Mapping[str, Any]) -> _Found:
    _, cdr = _read_cdr(record)
    named = {entry["cdr_id"] for entry in _all_entries(record) if entry["kind"] == _CAPTURE}
    if not named:
        return StepState.UNPROVED, f"CDR {cdr.id}; no entry names it yet"
    if named != {cdr.id}:
        raise _FailedError(
            f"the entry was booked for CDR {', '.join(sorted(named))}, the record has {cdr.id}"
        )
    return StepState.PROVED, f"CDR {cdr.id} is the one that the entry names"


def _price(record: Mapping[str, Any]) -> _Found:
    _, cdr = _read_cdr(record)
    content = base64.b64decode(record["tariff"]["base64"], validate=True)
    digest = sha256(content).hexdigest()
    if digest != record["tariff"]["sha256"]:
        raise _FailedError(f"the tariff hashes to {digest}, not to {record['tariff']['sha256']}")
    tariff = parse_tariff(content, version=OcpiVersion(record["tariff"]["version"]))
    priced = price(compile_tariff(tariff), cdr, time_zone=record["time_zone"])
    capture = record["capture"]
    if capture is None:
        return StepState.UNPROVED, f"{_money(priced.incl_vat_minor, priced.currency)} by the tariff"
    stated = int(capture["price_minor"])
    if stated not in {max(priced.incl_vat_minor, 0), 0} or priced.currency != record["currency"]:
        raise _FailedError(
            f"the tariff gives {_money(priced.incl_vat_minor, priced.currency)},"
            f" the record has {_money(stated, record['currency'])}"
        )
    return StepState.PROVED, f"{_money(stated, priced.currency)} by tariff {digest[:16]}"


def _money(minor: int, currency: str) -> str:
    return f"{to_major(int(minor), currency)} {currency}"


def _capture(record: Mapping[str, Any]) -> _Found:
    capture = record["capture"]
    if capture is None:
        return StepState.MISSING, "nothing was captured"
    captured, currency = int(capture["amount_minor"]), str(record["currency"])
    shown = _money(captured, currency)
    if captured > int(capture["price_minor"]):
        price_shown = _money(int(capture["price_minor"]), currency)
        raise _FailedError(f"{shown} was captured, more than the price {price_shown}")
    entries = [entry for entry in _all_entries(record) if entry["kind"] == _CAPTURE]
    if not entries:
        return (
            StepState.UNPROVED,
            f"{shown} captured as {capture['psp_charge'] or 'own funds'}, not booked yet",
        )
    came = sum(
        transfer.amount_minor
        for entry in entries
        for transfer in _transfers(entry)
        if transfer.credit_account == SESSION_TRANSIT
        and not transfer.debit_account.startswith("vat:")
        and transfer.currency == currency
    )
    if came < captured:
        raise _FailedError(f"{shown} was captured, but the entry takes in {_money(came, currency)}")
    return StepState.PROVED, f"{shown} captured as {capture['psp_charge'] or 'own funds'} and booked"


def _entries(record: Mapping[str, Any]) -> _Found:
    count = 0
    for batch in record["batches"]:
        for entry in batch["entries"]:
            _prove(record, batch, entry)
            count += 1
    if not count:
        return StepState.MISSING, "the session is not booked yet"
    heads = ", ".join(f"chain {one['chain']} position {one['position']}" for one in record["batches"])
    return StepState.PROVED, f"{count} {'entry' if count == 1 else 'entries'} in the journal, {heads}"


def _prove(record: Mapping[str, Any], batch: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    """An entry is this session's, leads to its batch's hash, and leaves nothing in transit."""
    name = f"entry {entry['kind']} {entry['reference']}".strip()
    if entry["subject_id"] != record["session_id"]:
        raise _FailedError(f"{name} is of another session")
    if entry["kind"] == _CAPTURE and entry["tariff_sha256"] != record["tariff"]["sha256"]:
        raise _FailedError(f"{name} was booked for another tariff")
    transfers = _transfers(entry)
    hashes = [
        hash_chain.transfer_hash(transfer, blind=bytes.fromhex(one["blind"]))
        for transfer, one in zip(transfers, entry["transfers"], strict=True)
    ]
    expected = hash_chain.batch_hash(
        previous=bytes.fromhex(batch["previous_hash"]),
        root=hash_chain.root_of_shown_entry(entry, hashes),
        chain=batch["chain"],
        position=batch["position"],
        booked_at=datetime.fromisoformat(batch["booked_at"]),
    )
    if expected.hex() != batch["hash"]:
        raise _FailedError(f"{name} is not in batch {batch['batch']}")


def _payouts(record: Mapping[str, Any]) -> _Found:
    payables = record["payables"]
    for payable in payables:
        moved = sum(
            _moved(transfer, payable)
            for entry in _all_entries(record)
            if (entry["kind"], entry["reference"]) == (payable["kind"], payable["reference"])
            for transfer in _transfers(entry)
        )
        if moved != payable["amount_minor"]:
            raise _FailedError(
                f"{payable['party']} is owed {_money(payable['amount_minor'], payable['currency'])},"
                f" but the entry moves {_money(moved, payable['currency'])}"
            )
    if not payables:
        return StepState.MISSING, "nothing is owed to a party"
    paid = [one for one in payables if (one["disbursement"] or {}).get("state") in _DONE]
    names = ", ".join(
        f"{one['party']} {_money(one['amount_minor'], one['currency'])} in {one['disbursement']['id']}"
        for one in paid
    )
    if len(paid) < len(payables):
        text = f"{len(paid)} of {len(payables)} payables are paid"
        return StepState.UNPROVED, f"{text}: {names}" if names else text
    return StepState.PROVED, f"paid: {names}"


def _moved(transfer: Transfer, payable: Mapping[str, Any]) -> int:
    if transfer.currency != payable["currency"]:
        return 0
    credit, debit = (
        transfer.credit_account == payable["account"],
        transfer.debit_account == payable["account"],
    )
    return transfer.amount_minor if credit and not debit else -transfer.amount_minor if debit else 0


def _bank_lines(record: Mapping[str, Any]) -> _Found:
    by_bank = {
        one["disbursement"]["id"]: one["disbursement"]
        for one in record["payables"]
        if (one["disbursement"] or {}).get("rail") == "bank"
    }
    if not by_bank:
        return StepState.MISSING, "no payout by bank"
    for paid in by_bank.values():
        line = paid["bank_line"]
        if line is not None and -line["amount_minor"] != paid["amount_minor"]:
            raise _FailedError(
                f"{paid['id']} is {paid['amount_minor']} minor units, the bank's line {line['amount_minor']}"
            )
    open_ones = [name for name, paid in by_bank.items() if paid["bank_line"] is None]
    if open_ones:
        return StepState.UNPROVED, f"no line of the bank is matched yet with {', '.join(open_ones)}"
    lines = ", ".join(f"{one['bank_line']['id']} of {one['bank_line']['day']}" for one in by_bank.values())
    return StepState.PROVED, f"the bank's lines: {lines}"


def _read_cdr(record: Mapping[str, Any]) -> tuple[bytes, Cdr]:
    raw = base64.b64decode(record["cdr"]["base64"], validate=True)
    return raw, parse_cdr(raw, version=OcpiVersion(record["cdr"]["version"]))


def _all_entries(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (entry for batch in record["batches"] for entry in batch["entries"])


def _transfers(entry: Mapping[str, Any]) -> list[Transfer]:
    return [
        Transfer(one["debit"], one["credit"], int(one["minor"]), one["currency"])
        for one in entry["transfers"]
    ]


def _key(record: Mapping[str, Any], one: Mapping[str, Any]) -> RegisteredKey:
    return RegisteredKey(
        id=UUID(one["id"]),
        party_id=record["cpo"],
        identity=MeterIdentity(
            meter_serial=one["meter_serial"],
            gateway_serial=one["gateway_serial"],
            charge_point_id=one["charge_point_id"],
        ),
        curve=one["curve"],
        der=bytes.fromhex(one["public_key"]),
        source=MeterKeySource(one["source"]),
        state=MeterKeyState(one["state"]),
        valid_from=datetime.fromisoformat(one["valid_from"]),
        valid_to=None if one["valid_to"] is None else datetime.fromisoformat(one["valid_to"]),
        entered_by=one["entered_by"],
        entered_at=datetime.fromisoformat(one["entered_at"]),
    )
