"""What a journal is exported by, and what proves the file: values of the export.

Owns: these shapes. Must not know: the database, how a form is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from clearing.books.chart import ChartOfAccounts
from clearing.books.journal import BooksForm, CsvDialect
from clearing.books.period import BooksPeriod


@dataclass(frozen=True, slots=True, kw_only=True)
class DatevClient:
    """The adviser's and the client's number at DATEV, and the length of its account numbers.

    `each_transfer`: a posting for each transfer, with its document; else sums of each day.
    """

    adviser: int
    client: int
    account_length: int
    year_start_month: int = 1
    each_transfer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRequest:
    """Which journal: the period, the form, the chart, and the one currency to convert to, if any.

    `monthly_rates`: prescribed rates; without them the ECB's daily ones count. `verified`: recompute every
    hash.
    """

    period: BooksPeriod
    form: BooksForm
    chart: ChartOfAccounts
    dialect: CsvDialect
    reporting_currency: str | None = None
    monthly_rates: Mapping[tuple[str, str], tuple[Decimal, str]] = field(default_factory=dict)
    datev: DatevClient | None = None
    verified: bool = True
    software_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSpan:
    """The part of a hash chain that a file covers, with the hash before it and its last one."""

    chain: int
    first_position: int
    last_position: int
    previous_hash: str
    last_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalProof:
    """What a journal file holds: transfers, sums, the chains that seal them, and its own hash.

    Debits equal credits in each currency, since a transfer has one amount. `left_out`: transfers of a DATEV
    batch that are zero in its currency.
    """

    period: BooksPeriod
    form: BooksForm
    transfers: int
    entries: int
    sums_minor: Mapping[str, int]
    chains: Sequence[ChainSpan]
    verified: bool
    sha256: str
    left_out: int = 0
