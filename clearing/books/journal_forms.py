"""One transfer or entry of the journal in the forms that Python writes: JSON and SAF-T.

Owns: which field of a line goes where. Must not know: the database, the order of a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from clearing.books import saft
from clearing.books.journal import JournalLine, converted
from clearing.books.period import ReportingRate, ReportingRates
from clearing.books.saft import SaftHeader, SaftLine, SaftParty, SaftTransaction
from clearing.parties.business_details import BusinessAddress
from clearing.parties.party import Party


def in_reporting(minor: int, currency: str, day: date, rates: ReportingRates | None) -> int:
    """Minor units of the reporting currency, or as booked where none is asked for."""
    return minor if rates is None else converted(minor, currency, day, rates)


def year_start(first: date, month: int) -> date:
    """The first day of the financial year that `first` lies in; the year begins with `month`."""
    start = first.replace(month=month, day=1)
    return start if start <= first else start.replace(year=start.year - 1)


def rate_text(rate: ReportingRate) -> str:
    """A rate with its source, for people."""
    return f"{rate.rate:f} ({rate.source})"


def json_line(line: JournalLine, rates: ReportingRates | None) -> dict[str, Any]:
    """A transfer as a JSON object; amounts in minor units, rates as text."""
    found: dict[str, Any] = {
        "booked_at": line.booked_at.isoformat(),
        "booked_on": line.booked_on.isoformat(),
        "batch": str(line.batch_id),
        "kind": line.kind,
        "subject": str(line.subject_id),
        "reference": line.reference,
        "ordinal": line.ordinal,
        "debit_account": line.debit.number,
        "debit_path": line.debit.path,
        "credit_account": line.credit.number,
        "credit_path": line.credit.path,
        "amount_minor": line.amount_minor,
        "currency": line.currency,
        "vat_code": line.vat_code,
        "counterparty": line.counterparty,
        "cdr_id": line.cdr_id,
    }
    if rates is not None:
        rate = rates.on(line.currency, line.booked_on)
        found |= {
            "reporting_minor": converted(line.amount_minor, line.currency, line.booked_on, rates),
            "reporting_currency": rates.currency,
            "rate": f"{rate.rate:f}",
            "rate_source": rate.source,
        }
    return found


@dataclass(slots=True)
class SaftBalances:
    """Balances by name before the period and in it: debits minus credits. An accumulator."""

    opening: dict[str, int] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, minor: int, *, before: bool) -> None:
        """Add a signed amount of before the period or of the period."""
        sums = self.opening if before else self.moved
        sums[name] = sums.get(name, 0) + minor

    def listed(self) -> list[tuple[str, int, int]]:
        """Each name in order with its opening and closing balance."""
        return [
            (name, self.opening.get(name, 0), self.opening.get(name, 0) + self.moved.get(name, 0))
            for name in sorted({*self.opening, *self.moved})
        ]


def saft_party(party: Party, *, opening_minor: int, closing_minor: int) -> SaftParty:
    """A registered party with its balances."""
    return SaftParty(
        id=party.id,
        name=party.name,
        registration=party.details.register_number,
        address=party.details.address or BusinessAddress(country=party.country),
        vat_id=party.vat_id,
        opening_minor=opening_minor,
        closing_minor=closing_minor,
    )


def saft_transaction(lines: Sequence[JournalLine], header: SaftHeader, rates: ReportingRates | None) -> str:
    """An entry whose transfers are `lines`, with a debit and a credit line for each."""
    first = lines[0]
    sides = [
        SaftLine(
            record_id=f"{line.ordinal + 1}{'D' if debit else 'C'}",
            account=(line.debit if debit else line.credit).number,
            debit=debit,
            amount_minor=in_reporting(line.amount_minor, line.currency, line.booked_on, rates),
            currency=line.currency,
            currency_minor=line.amount_minor,
            rate="" if rates is None else f"{rates.on(line.currency, line.booked_on).rate:.8f}",
            text=(line.debit if debit else line.credit).path,
            counterparty=line.counterparty,
            party=(line.debit if debit else line.credit).party_id,
        )
        for line in lines
        for debit in (True, False)
    ]
    found = SaftTransaction(
        id=first.document,
        day=first.booked_on,
        batch=first.batch_id.hex,
        text=f"{first.kind} {first.reference}".strip(),
        lines=sides,
    )
    return saft.transaction(found, header)
