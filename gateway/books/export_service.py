"""The books of a period for people: a journal as a file, tables, and the treasurer's balances.

Owns: the snapshot of each, the file, the chart of accounts that counts. Must not know: HTTP, who may ask, how
a form is written.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from clearing.books.chart import ChartOfAccounts, bundled_chart, parse_chart
from clearing.books.journal import BooksForm, TrialBalanceLine, dialect
from clearing.books.journal_request import DatevClient, JournalProof, JournalRequest
from clearing.books.period import BooksPeriod, parse_period
from clearing.books.service import BooksService
from clearing.books.vat_return import VatReturn
from clearing.ledger import service as ledger_service
from clearing.ledger.balances import AccountBalance
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.errors import ConfigurationError

_SUFFIXES: Final = {
    BooksForm.CSV: "csv",
    BooksForm.JSON: "jsonl",
    BooksForm.DATEV: "csv",
    BooksForm.SAFT: "xml",
}
# Whose money is on the account: what the treasurer looks at.
_TREASURY: Final = (
    "cpo:",
    "partner:",
    "emsp:",
    "site:",
    "reserve:",
    "bank:",
    "psp:",
    "platform:treasury",
    "suspense",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalChoice:
    """What was asked for: see `clearing.books.journal_request.JournalRequest`."""

    period: str
    form: BooksForm
    dialect: str = "rfc4180"
    reporting_currency: str | None = None
    monthly_rates: Mapping[tuple[str, str], tuple[Decimal, str]] | None = None
    datev: DatevClient | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFile:
    """A written journal: its path and what proves it."""

    path: Path
    proof: JournalProof


@dataclass(frozen=True, slots=True, kw_only=True)
class BookExportService:
    """Reads only. Raises InvalidBooksRequestError, InvalidChartError, RateUnavailableError."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    chart_path: str | None = None
    version: str = ""

    async def write_journal(self, choice: JournalChoice, directory: Path) -> JournalFile:
        """Write the journal into `directory`; no file is returned before it is proved."""
        chart = await self.chart()
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            period = await self._period(connection, choice.period)
            request = JournalRequest(
                period=period,
                form=choice.form,
                chart=chart,
                dialect=dialect(choice.dialect),
                reporting_currency=choice.reporting_currency,
                monthly_rates=choice.monthly_rates or {},
                datev=choice.datev,
                verified=choice.verified,
                software_version=self.version,
            )
            path = directory / _name(choice.form, period)
            with path.open("wb") as file:

                async def keep(content: bytes) -> None:
                    await asyncio.to_thread(file.write, content)

                proof = await self._books.write_journal(connection, request, keep, now=self.clock.now())
        return JournalFile(path=path, proof=proof)

    async def trial_balance(self, period: str) -> Sequence[TrialBalanceLine]:
        """Each account and currency before the period, in it and after it."""
        chart = await self.chart()
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            found = await self._period(connection, period)
            return await self._books.trial_balance(connection, found, chart)

    async def vat_return(
        self, period: str, *, monthly_rates: Mapping[tuple[str, str], tuple[Decimal, str]] | None = None
    ) -> VatReturn:
        """The VAT figures of a period, proved against the VAT accounts."""
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            found = await self._period(connection, period)
            return await self._books.vat_return(connection, found, monthly_rates=monthly_rates)

    async def list_treasury_balances(self) -> Sequence[AccountBalance]:
        """What is owed to each party, withheld, prefunded, at the PSP and at the bank, now."""
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            balances = await ledger_service.list_balances(connection)
        return [one for one in balances if one.account.startswith(_TREASURY) and one.minor]

    async def time_zone(self) -> str:
        """The IANA zone whose days the books count in. Raises InvalidBooksRequestError without a platform."""
        async with self.pool.acquire() as connection:
            return await self._books.platform_time_zone(connection)

    async def chart(self) -> ChartOfAccounts:
        """The configured chart, else the bundled one. Raises ConfigurationError if it can't be read."""
        if self.chart_path is None:
            return bundled_chart()
        try:
            text = await asyncio.to_thread(Path(self.chart_path).read_text, encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise ConfigurationError(f"NETWORKCORE_CHART_OF_ACCOUNTS_PATH can't be read: {error}") from None
        return parse_chart(text)

    @property
    def _books(self) -> BooksService:
        return BooksService(self.clearing.reference_data)

    async def _period(self, connection: Connection, text: str) -> BooksPeriod:
        return parse_period(text, time_zone=await self._books.platform_time_zone(connection))


def _name(form: BooksForm, period: BooksPeriod) -> str:
    """DATEV imports only files whose names begin with EXTF_."""
    prefix = "EXTF_Buchungsstapel" if form is BooksForm.DATEV else "journal"
    return f"{prefix}_{period.first}_{period.last}.{_SUFFIXES[form]}"
