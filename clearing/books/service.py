"""The books of a period as files and tables: journal, trial balance, VAT return, each from one snapshot.

Owns: the order of steps, and the proof that a file has every transfer of the period and nothing else. Must
not know: where a file goes, who asks. Every method takes the connection, best in a repeatable read
transaction, and only reads.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from clearing import audit
from clearing.books import datev, repository, saft
from clearing.books.chart import AccountSide, ChartOfAccounts, MappedAccount
from clearing.books.datev import DatevBatch, DatevPosting
from clearing.books.journal import (
    BooksForm,
    JournalLine,
    TrialBalanceLine,
    trial_balance_line,
    written,
)
from clearing.books.journal_forms import (
    SaftBalances,
    in_reporting,
    json_line,
    rate_text,
    saft_party,
    saft_transaction,
    year_start,
)
from clearing.books.journal_request import ChainSpan, JournalProof, JournalRequest
from clearing.books.period import BooksPeriod, ReportingRates
from clearing.books.repository import BytesSink, CsvColumns
from clearing.books.return_rates import ReturnRates
from clearing.books.saft import SaftAccount, SaftHeader, SaftParty, SaftTotals
from clearing.books.vat_return import CustomerIdentity, VatReturn, vat_return
from clearing.connection import Connection
from clearing.errors import ClearingInvariantViolation, InvalidBooksRequestError
from clearing.fx import RateTable
from clearing.ledger import service as ledger_service
from clearing.money import exponent
from clearing.parties.business_details import BusinessAddress
from clearing.parties.party import PLATFORM_ID, Party
from clearing.reference_data.service import ReferenceDataService
from clearing.tax.vat_rates import Regime

_HEADINGS: Final = (
    *("line", "booked_on", "kind", "subject", "reference", "debit_account", "debit_path", "credit_account"),
    *(
        "credit_path",
        "amount",
        "currency",
        "reporting_amount",
        "reporting_currency",
        "rate_source",
        "vat_code",
    ),
    *("counterparty", "cdr_id", "psp_object", "chain", "position"),
)
_EU: Final = frozenset({Regime.EU, Regime.EU_GOODS})


@dataclass(slots=True)
class _Run:
    """The state of one export."""

    request: JournalRequest
    sink: BytesSink
    digest: Any
    accounts: Mapping[str, MappedAccount] = field(default_factory=dict)
    currencies: Sequence[str] = ()
    rates: ReportingRates | None = None
    transfers: int = 0
    entries: int = 0
    left_out: int = 0
    spans: dict[int, ChainSpan] = field(default_factory=dict)

    async def write(self, content: bytes) -> None:
        """Add bytes to the file and its hash."""
        self.digest.update(content)
        await self.sink(content)


class BooksService:
    """Exports of the general ledger."""

    def __init__(self, reference_data: ReferenceDataService) -> None:
        """`reference_data` knows the platform's party and the exchange rates."""
        self._reference_data = reference_data

    async def platform_time_zone(self, connection: Connection) -> str:
        """The IANA zone whose days the books count in. Raises InvalidBooksRequestError without a platform."""
        return (await self._platform(connection)).time_zone

    async def write_journal(
        self, connection: Connection, request: JournalRequest, sink: BytesSink, *, now: datetime
    ) -> JournalProof:
        """Write the journal of a period into `sink`, in constant memory, and prove it.

        Raises InvalidChartError, InvalidBooksRequestError, RateUnavailableError; ClearingInvariantViolation
        if the file would not have what the hash chains seal.
        """
        run = _Run(request=request, sink=sink, digest=sha256())
        await repository.raise_work_mem(connection)
        used = await repository.list_accounts(connection, until=request.period.until)
        run.accounts = {path: request.chart.map(path) for path, _ in used}
        run.currencies = sorted({currency for _, currency in used})
        run.rates = await self._rates(connection, request)
        match request.form:
            case BooksForm.CSV:
                await self._write_csv(connection, run)
            case BooksForm.JSON:
                await self._write_json(connection, run)
            case BooksForm.DATEV:
                await self._write_datev(connection, run, now=now)
            case BooksForm.SAFT:
                await self._write_saft(connection, run, now=now)
        sums: dict[str, int] = {}
        for moved in await repository.sum_accounts(connection, request.period):
            sums[moved.currency] = sums.get(moved.currency, 0) + moved.debit_minor
        return JournalProof(
            period=request.period,
            form=request.form,
            transfers=run.transfers,
            entries=run.entries,
            sums_minor=dict(sorted(sums.items())),
            chains=[run.spans[chain] for chain in sorted(run.spans)],
            verified=request.verified,
            sha256=run.digest.hexdigest(),
            left_out=run.left_out,
        )

    async def trial_balance(
        self, connection: Connection, period: BooksPeriod, chart: ChartOfAccounts
    ) -> list[TrialBalanceLine]:
        """Each account and currency: before the period, in it, and after it, in the order of the chart."""
        moved = await repository.sum_accounts(connection, period)
        lines = [trial_balance_line(one, chart.map(one.account)) for one in moved]
        return sorted(lines, key=lambda line: (line.number, line.path, line.currency))

    async def vat_return(
        self,
        connection: Connection,
        period: BooksPeriod,
        *,
        monthly_rates: Mapping[tuple[str, str], tuple[Decimal, str]] | None = None,
    ) -> VatReturn:
        """The VAT figures of a period, proved against the VAT accounts, also in each return's currency.

        `monthly_rates`: prescribed rates into the currency of the platform's country. Raises
        RateUnavailableError.
        """
        platform = await self._platform(connection)
        reference = await self._reference_data.load(connection)
        rates = reference.rates_and_calendars.vat
        union = {code for code in rates.codes if rates.tax_jurisdiction(code).regime in _EU}
        customers = {
            party.id: CustomerIdentity(
                vat_id=party.vat_id_on(period.last),
                country=party.tax_jurisdiction,
                in_union=party.tax_jurisdiction in union,
            )
            for party in reference.parties.values()
        }
        movements: dict[tuple[str, str], int] = {}
        for one in await repository.sum_accounts(connection, period):
            if one.account.startswith("vat:"):
                sign = 1 if one.account.endswith(":input") else -1
                minor = sign * (one.debit_minor - one.credit_minor)
                movements[one.account, one.currency] = minor
        return vat_return(
            await repository.sum_supplies(connection, period),
            movements,
            customers=customers,
            platform_country=platform.tax_jurisdiction,
            union=frozenset(union),
            rates=ReturnRates(
                daily=reference.rates_and_calendars.fx,
                vat=rates,
                own_country=platform.tax_jurisdiction,
                monthly=monthly_rates or {},
            ),
        )

    # Forms

    async def _write_csv(self, connection: Connection, run: _Run) -> None:
        request, dialect = run.request, run.request.dialect
        if dialect.bom:
            await run.write("\ufeff".encode())
        await run.write((dialect.delimiter.join(_HEADINGS) + "\r\n").encode())
        moved = await repository.list_moved_days(connection, request.period)
        columns = CsvColumns(
            accounts=run.accounts,
            currencies=run.currencies,
            dialect=dialect,
            reporting_currency=request.reporting_currency or "",
            rates=[] if run.rates is None else [run.rates.on(*one) for one in moved],
            time_zone=request.period.time_zone,
        )

        async def write_rows(content: bytes) -> None:
            await run.write(content.replace(b"\n", b"\r\n"))

        async for group in self._proved_batches(connection, run):
            ids = [batch["id"] for batch in group]
            copied = await repository.copy_csv(
                connection, ids, columns, offset=run.transfers, sink=write_rows
            )
            _count(run, group, copied)

    async def _write_json(self, connection: Connection, run: _Run) -> None:
        async for lines in self._lines(connection, run):
            for line in lines:
                await run.write((json.dumps(json_line(line, run.rates), ensure_ascii=False) + "\n").encode())

    async def _write_datev(self, connection: Connection, run: _Run, *, now: datetime) -> None:
        """Sums of each day, or each transfer: a batch of DATEV has at most 99,999 lines."""
        request, client = run.request, run.request.datev
        if client is None:
            raise InvalidBooksRequestError(
                "datev", "name the adviser, the client and the length of its account numbers"
            )
        currency = request.reporting_currency or _only(run.currencies)
        datev.check_currency(currency, exponent(currency))
        closed = await ledger_service.find_closed_until(connection)
        period = request.period
        batch = DatevBatch(
            adviser=client.adviser,
            client=client.client,
            year_start=year_start(period.first, client.year_start_month),
            first=period.first,
            last=period.last,
            account_length=client.account_length,
            currency=currency,
            name=f"networkcore {period.first:%Y-%m-%d}",
            created_at=now,
            locked=closed is not None and closed >= period.until,
        )
        for line in datev.header_lines(batch):
            await run.write(line.encode(datev.ENCODING))
        lines = 0
        found = self._transfer_postings if client.each_transfer else self._daily_postings
        async for posting in found(connection, run, currency):
            lines += 1
            if lines > datev.MAX_LINES:
                raise InvalidBooksRequestError(
                    "period",
                    f"a DATEV batch has at most {datev.MAX_LINES} postings; export a shorter period"
                    + (" or the sums of each day" if client.each_transfer else ""),
                )
            await run.write(datev.posting_line(posting, batch).encode(datev.ENCODING))

    async def _daily_postings(
        self, connection: Connection, run: _Run, currency: str
    ) -> AsyncIterator[DatevPosting]:
        """What moved between two accounts on a day for one reason; what is zero in `currency` is left out."""
        async for group in self._proved_batches(connection, run):
            run.entries += sum(one["entry_count"] for one in group)
        for one in await repository.sum_days(connection, run.request.period):
            run.transfers += one.transfers
            minor = in_reporting(one.amount_minor, one.currency, one.booked_on, run.rates)
            if minor == 0:
                run.left_out += one.transfers
                continue
            yield DatevPosting(
                amount_minor=minor,
                account=run.accounts[one.debit_account].number,
                contra=run.accounts[one.credit_account].number,
                day=one.booked_on,
                document=f"{one.booked_on:%Y%m%d}-{one.kind}",
                text=f"{one.kind} {one.debit_account} {one.credit_account}",
                notes=_datev_notes(run, one.amount_minor, one.currency, one.booked_on, currency=currency)
                | {"Soll": one.debit_account, "Haben": one.credit_account},
            )

    async def _transfer_postings(
        self, connection: Connection, run: _Run, currency: str
    ) -> AsyncIterator[DatevPosting]:
        """Each transfer under its session or other subject, and its reason; zero ones are left out."""
        async for lines in self._lines(connection, run):
            for line in lines:
                minor = in_reporting(line.amount_minor, line.currency, line.booked_on, run.rates)
                if minor == 0:
                    run.left_out += 1
                    continue
                notes = _datev_notes(run, line.amount_minor, line.currency, line.booked_on, currency=currency)
                named = {"CDR": line.cdr_id, "Vorgang": line.reference, "Partner": line.counterparty}
                yield DatevPosting(
                    amount_minor=minor,
                    account=line.debit.number,
                    contra=line.credit.number,
                    day=line.booked_on,
                    document=line.subject_id.hex,
                    second_document=line.kind,
                    text=f"{line.kind} {line.debit.path} {line.credit.path}",
                    notes=notes
                    | {"Soll": line.debit.path, "Haben": line.credit.path}
                    | {kind: text for kind, text in named.items() if text},
                )

    async def _write_saft(self, connection: Connection, run: _Run, *, now: datetime) -> None:
        request = run.request
        currency = request.reporting_currency or _only(run.currencies)
        platform = await self._platform(connection)
        header = SaftHeader(
            company=platform.name,
            registration=platform.details.register_number or platform.vat_id or platform.id,
            address=platform.details.address or BusinessAddress(country=platform.country),
            contact=platform.details.contact,
            vat_id=platform.vat_id,
            currency=currency,
            first=request.period.first,
            last=request.period.last,
            created_on=now.date(),
            software_version=request.software_version,
        )
        accounts, parties, totals = await self._saft_accounts(connection, run)
        for part in saft.opening(header, accounts, parties, totals):
            await run.write(part.encode())
        open_lines: list[JournalLine] = []
        async for lines in self._lines(connection, run):
            for line in lines:
                if open_lines and open_lines[0].document != line.document:
                    await run.write(saft_transaction(open_lines, header, run.rates).encode())
                    open_lines = []
                open_lines.append(line)
        if open_lines:
            await run.write(saft_transaction(open_lines, header, run.rates).encode())
        await run.write(saft.closing().encode())

    async def _saft_accounts(
        self, connection: Connection, run: _Run
    ) -> tuple[list[SaftAccount], list[SaftParty], SaftTotals]:
        """Accounts by number and parties with their balances, and the sums that precede the file's entries.

        Each transfer is converted by itself, so the sums of every line are the balances' difference.
        """
        period = run.request.period
        numbers, owed = SaftBalances(), SaftBalances()
        debit = transactions = 0
        async for group in repository.read_batches(
            connection, BooksPeriod(first=date(2000, 1, 1), last=period.last, time_zone=period.time_zone)
        ):
            lines = await repository.list_lines(
                connection,
                [batch["id"] for batch in group],
                accounts=run.accounts,
                time_zone=period.time_zone,
            )
            for line in lines:
                minor = in_reporting(line.amount_minor, line.currency, line.booked_on, run.rates)
                before = line.booked_on < period.first
                for side, signed in ((line.debit, minor), (line.credit, -minor)):
                    numbers.add(side.number, signed, before=before)
                    if side.party_id:
                        owed.add(side.party_id, signed, before=before)
                if not before:
                    debit += minor
                    transactions += line.ordinal == 0
        known = {account.number: account for account in run.accounts.values()}
        found = [
            SaftAccount(
                number=number,
                name=known[number].name,
                side=AccountSide(known[number].side),
                opening_minor=first,
                closing_minor=last,
            )
            for number, first, last in numbers.listed()
        ]
        registered = await self._reference_data.load_parties(connection)
        parties = [
            saft_party(registered[party_id], opening_minor=first, closing_minor=last)
            for party_id, first, last in owed.listed()
        ]
        return found, parties, SaftTotals(transactions=transactions, debit_minor=debit)

    # Batches, proved

    async def _lines(self, connection: Connection, run: _Run) -> AsyncIterator[list[JournalLine]]:
        async for group in self._proved_batches(connection, run):
            lines = await repository.list_lines(
                connection,
                [batch["id"] for batch in group],
                accounts=run.accounts,
                time_zone=run.request.period.time_zone,
            )
            _count(run, group, len(lines))
            yield lines

    async def _proved_batches(self, connection: Connection, run: _Run) -> AsyncIterator[list[Any]]:
        """The period's batches, each the successor of the one before it; with `verified`, rehashed."""
        async for group in repository.read_batches(connection, run.request.period):
            for batch in group:
                span = run.spans.get(batch["chain"])
                if span is not None and (span.last_position + 1, span.last_hash) != (
                    batch["position"],
                    batch["previous_hash"].hex(),
                ):
                    raise ClearingInvariantViolation(
                        f"batch {batch['id']} does not follow the one before it in chain {span.chain}"
                    )
                if run.request.verified:
                    wrong = await audit.check_batch(
                        connection,
                        batch,
                        position=batch["position"] - 1,
                        previous=batch["previous_hash"],
                    )
                    if wrong:
                        raise ClearingInvariantViolation(f"{wrong[0].subject}: {wrong[0].detail}")
                run.spans[batch["chain"]] = ChainSpan(
                    chain=batch["chain"],
                    first_position=batch["position"] if span is None else span.first_position,
                    last_position=batch["position"],
                    previous_hash=batch["previous_hash"].hex() if span is None else span.previous_hash,
                    last_hash=batch["hash"].hex(),
                )
            yield group

    async def _platform(self, connection: Connection) -> Party:
        platform = await self._reference_data.find_party(connection, PLATFORM_ID)
        if platform is None:
            raise InvalidBooksRequestError("platform", "is not registered; it is whose books these are")
        return platform

    async def _rates(self, connection: Connection, request: JournalRequest) -> ReportingRates | None:
        if request.reporting_currency is None:
            return None
        table: RateTable = (await self._reference_data.load(connection)).rates_and_calendars.fx
        return ReportingRates(request.reporting_currency, table, request.monthly_rates)


def _datev_notes(run: _Run, minor: int, booked_in: str, day: date, *, currency: str) -> dict[str, str]:
    """The amount as booked, and the rate where it was converted to `currency`."""
    notes = {"Betrag": f"{written(minor, booked_in, point=',')} {booked_in}"}
    if run.rates is not None and booked_in != currency:
        notes["Kurs"] = rate_text(run.rates.on(booked_in, day))
    return notes


def _count(run: _Run, group: Sequence[Any], lines: int) -> None:
    """Count what was written. Raises ClearingInvariantViolation unless it is what the batches seal."""
    sealed = sum(batch["transfer_count"] for batch in group)
    if lines != sealed:
        raise ClearingInvariantViolation(f"{lines} transfers were read where the batches seal {sealed}")
    run.transfers += lines
    run.entries += sum(batch["entry_count"] for batch in group)


def _only(currencies: Sequence[str]) -> str:
    if len(currencies) > 1:
        raise InvalidBooksRequestError(
            "reporting_currency",
            f"the journal has {', '.join(currencies)}: name the one currency of this form",
        )
    return currencies[0] if currencies else "EUR"
