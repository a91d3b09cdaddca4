"""The books of a period over HTTP: journal, trial balance, VAT return, balances, and closing.

Owns: the wire form. Must not know how a figure is made or a period closed. Only the platform sees its books.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

from pydantic import Field

from clearing.books.journal import DIALECTS, BooksForm
from clearing.books.journal_request import DatevClient
from clearing.books.table_csv import trial_balance_csv, vat_return_csv
from clearing.books.vat_return import OSS_ENABLED, VatReturn
from clearing.ledger.balances import AccountBalance
from clearing.reporting.closing_points import ClosingPoint
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, whole
from gateway.api.idempotency import KeyRule
from gateway.books.export_service import JournalChoice
from gateway.books.period_close_service import ClosingCheck
from gateway.schemas import api_schemas

_MEDIA: Final = {
    BooksForm.CSV: "text/csv; charset=utf-8; header=present",
    BooksForm.JSON: "application/x-ndjson",
    BooksForm.DATEV: "text/csv; charset=windows-1252",
    BooksForm.SAFT: "application/xml",
}
Period = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}(-[0-9]{2}/[0-9]{4}-[0-9]{2}-[0-9]{2})?$",
        description="a month, or its first and last day, in the platform's time zone",
        examples=["2026-10"],
    ),
]


class PeriodQuery(QueryModel):
    """Which period."""

    period: Period


class JournalQuery(PeriodQuery):
    """The form of the journal. DATEV needs the adviser's and the client's number."""

    format: BooksForm = Field(BooksForm.CSV, description="the file format")
    dialect: Literal["rfc4180", "de", "fr", "it", "ch", "en"] = Field(
        "rfc4180", description="whose spreadsheet reads the CSV"
    )
    reporting_currency: api_schemas.Currency | None = Field(
        None, description="the one currency that each amount is also converted to"
    )
    datev_adviser: int | None = Field(
        None, ge=1001, le=9_999_999, description="the tax adviser's number at DATEV"
    )
    datev_client: int | None = Field(None, ge=1, le=99_999, description="the client's number at DATEV")
    datev_account_length: int = Field(4, ge=4, le=8, description="digits of the client's account numbers")
    datev_each_transfer: bool = Field(
        default=False, description="a posting for each transfer, with its document; else sums of each day"
    )


class TableQuery(PeriodQuery):
    """A table as JSON, or as CSV for a country's spreadsheet."""

    format: Literal["json", "csv"] = Field("json", description="the file format")
    dialect: Literal["rfc4180", "de", "fr", "it", "ch", "en"] = Field(
        "rfc4180", description="whose spreadsheet reads the CSV"
    )


class TrialBalanceLineSchema(api_schemas.PublicSchema):
    """One account and currency; balances are positive on the account's own side."""

    account: str = Field(description="the number in the chart of accounts")
    name: str = Field(description="the account's name in the chart")
    side: str = Field(description="asset, liability, equity, revenue or expense")
    path: str = Field(description="the account of the ledger")
    currency: api_schemas.Currency
    opening: api_schemas.Minor
    debit: api_schemas.Minor
    credit: api_schemas.Minor
    closing: api_schemas.Minor


class VatFigureSchema(api_schemas.PublicSchema):
    """Base and tax of one side of the return, by country, rate, category and supply."""

    side: str = Field(description="where in a return the figure belongs")
    country: str = Field(description="whose VAT it is")
    rate: str = Field(description="percent")
    category: str = Field(description="EN 16931 category: S, AE, E or O")
    supply: str = Field(description="which supply of a session")
    currency: api_schemas.Currency
    base: api_schemas.Minor
    tax: api_schemas.Minor
    supplies: int = Field(description="how many supplies and corrections")
    return_currency: api_schemas.Currency
    return_base: api_schemas.Minor
    return_tax: api_schemas.Minor


class SalesListLineSchema(api_schemas.PublicSchema):
    """One customer of the EC sales list."""

    party: str = Field(description="the customer")
    vat_id: str | None = Field(description="its VAT id, if it is proven")
    country: str = Field(description="where it is established")
    currency: api_schemas.Currency
    base: api_schemas.Minor


class OssLineSchema(api_schemas.PublicSchema):
    """Sales to consumers in one member state."""

    country: str = Field(description="the member state")
    rate: str = Field(description="percent")
    currency: api_schemas.Currency
    base: api_schemas.Minor
    tax: api_schemas.Minor


class VatProofSchema(api_schemas.PublicSchema):
    """A VAT account's movement beside the tax of its figures."""

    account: str = Field(description="the VAT account")
    currency: api_schemas.Currency
    ledger: api_schemas.Minor
    figures: api_schemas.Minor
    difference: api_schemas.Minor


class VatReturnSchema(api_schemas.PublicSchema):
    """The VAT figures of a period. `oss_enabled` is false: OSS figures are shown, not declared."""

    object: Literal["vat_return"] = "vat_return"
    period: str = Field(description="as asked for")
    figures: list[VatFigureSchema] = Field(description="base and tax by side, country and rate")
    sales_list: list[SalesListLineSchema] = Field(
        description="customers under reverse charge in other member states"
    )
    oss: list[OssLineSchema] = Field(description="sales to consumers by member state")
    oss_enabled: bool = Field(description="whether OSS figures may be declared")
    proof: list[VatProofSchema] = Field(description="each VAT account beside its figures")


class TreasuryBalanceSchema(api_schemas.PublicSchema):
    """One balance: what is owed is positive, what is held at the PSP or the bank negative."""

    account: str = Field(description="the account of the ledger")
    currency: api_schemas.Currency
    balance: api_schemas.Minor


class ClosingPointSchema(api_schemas.PublicSchema):
    """What stands open: who ends it, and how."""

    kind: str = Field(description="what kind of point it is")
    subject: str = Field(description="what it is about")
    owner: str = Field(description="who ends it")
    next_step: str = Field(description="how it is ended")
    detail: str = Field(description="what is known about it")
    amount: api_schemas.Minor | None = Field(description="minor units, if an amount is known")
    currency: api_schemas.Currency | None = Field(description="of the amount")
    since: api_schemas.Instant | None = Field(description="since when it is open, if that is known")


class ClosingCheckSchema(api_schemas.PublicSchema):
    """A period's end: `closed`, or `requested_by` one person and waiting for another."""

    object: Literal["closing_check"] = "closing_check"
    until: api_schemas.Instant
    closed: bool = Field(description="whether the period is closed")
    requested_by: str | None = Field(description="who asked to close it while something stood open")
    points: list[ClosingPointSchema] = Field(description="what stands open")


class CloseBooksBody(WireModel):
    """The period up to whose end the books are closed."""

    period: Period


async def get_journal(call: ApiRequest) -> ApiResponse:
    """The journal as a file, proved before its first byte is sent."""
    query: JournalQuery = call.query
    datev = None
    if query.datev_adviser is not None and query.datev_client is not None:
        datev = DatevClient(
            adviser=query.datev_adviser,
            client=query.datev_client,
            account_length=query.datev_account_length,
            each_transfer=query.datev_each_transfer,
        )
    choice = JournalChoice(
        period=query.period,
        form=query.format,
        dialect=query.dialect,
        reporting_currency=query.reporting_currency,
        datev=datev,
    )
    async with call.services.statement_turns:
        with tempfile.TemporaryDirectory(prefix="journal-") as directory:
            written = await call.services.books.exports.write_journal(choice, Path(directory))
            # The open file outlives its directory, and goes when it is sent.
            stream = await asyncio.to_thread(_opened, written.path)
    return ApiResponse(
        body=None,
        stream=stream,
        headers={
            "Content-Type": _MEDIA[query.format],
            "Content-Disposition": f'attachment; filename="{written.path.name}"',
            "X-Journal-SHA256": written.proof.sha256,
            "X-Journal-Transfers": str(written.proof.transfers),
        },
    )


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


async def get_trial_balance(call: ApiRequest) -> ApiResponse:
    """Every account and currency of a period."""
    lines = await call.services.books.exports.trial_balance(call.query.period)
    if call.query.format == "csv":
        return _csv(
            trial_balance_csv(lines, DIALECTS[call.query.dialect]), f"trial_balance_{call.query.period}"
        )
    return ApiResponse(
        body=whole(
            TrialBalanceLineSchema(
                account=one.number,
                name=one.name,
                side=one.side,
                path=one.path,
                currency=one.currency,
                opening=one.opening_minor,
                debit=one.debit_minor,
                credit=one.credit_minor,
                closing=one.closing_minor,
            )
            for one in lines
        )
    )


async def get_vat_return(call: ApiRequest) -> ApiResponse:
    """The VAT figures of a period."""
    found = await call.services.books.exports.vat_return(call.query.period)
    if call.query.format == "csv":
        return _csv(vat_return_csv(found, DIALECTS[call.query.dialect]), f"vat_return_{call.query.period}")
    return ApiResponse(body=_vat_return(call.query.period, found))


def _csv(content: bytes, name: str) -> ApiResponse:
    file_name = f"{name.replace('/', '_')}.csv"
    return ApiResponse(
        body=content,
        headers={
            "Content-Type": _MEDIA[BooksForm.CSV],
            "Content-Disposition": f'attachment; filename="{file_name}"',
        },
    )


def _vat_return(period: str, found: VatReturn) -> VatReturnSchema:
    return VatReturnSchema(
        period=period,
        figures=[
            VatFigureSchema(
                side=one.side.value,
                country=one.country,
                rate=str(one.rate),
                category=one.category.value,
                supply=one.supply.value,
                currency=one.currency,
                base=one.base_minor,
                tax=one.tax_minor,
                supplies=one.supplies,
                return_currency=one.return_currency,
                return_base=one.return_base_minor,
                return_tax=one.return_tax_minor,
            )
            for one in found.figures
        ],
        sales_list=[
            SalesListLineSchema(
                party=one.customer_id,
                vat_id=one.vat_id,
                country=one.country,
                currency=one.currency,
                base=one.base_minor,
            )
            for one in found.sales_list
        ],
        oss=[
            OssLineSchema(
                country=one.country,
                rate=str(one.rate),
                currency=one.currency,
                base=one.base_minor,
                tax=one.tax_minor,
            )
            for one in found.oss
        ],
        oss_enabled=OSS_ENABLED,
        proof=[
            VatProofSchema(
                account=one.account,
                currency=one.currency,
                ledger=one.ledger_minor,
                figures=one.figures_minor,
                difference=one.difference_minor,
            )
            for one in found.proof
        ],
    )


async def list_balances(call: ApiRequest) -> ApiResponse:
    """What the treasurer looks at."""
    found = await call.services.books.exports.list_treasury_balances()
    return ApiResponse(body=whole(_balance(one) for one in found))


def _balance(one: AccountBalance) -> TreasuryBalanceSchema:
    return TreasuryBalanceSchema(account=one.account, currency=one.currency, balance=one.minor)


async def get_closing_check(call: ApiRequest) -> ApiResponse:
    """What stands open at the end of a period."""
    return ApiResponse(body=_check(await call.services.books.closing.check(call.query.period)))


async def close_books(call: ApiRequest) -> ApiResponse:
    """Close a period; 202 while a second person is needed."""
    found = await call.services.books.closing.close(call.body.period, key=call.caller.key)
    return ApiResponse(status=200 if found.closed else 202, body=_check(found))


def _check(found: ClosingCheck) -> ClosingCheckSchema:
    return ClosingCheckSchema(
        until=found.until,
        closed=found.closed,
        requested_by=None if found.request is None else found.request.requested_by,
        points=[_point(one) for one in found.points],
    )


def _point(one: ClosingPoint) -> ClosingPointSchema:
    return ClosingPointSchema(
        kind=one.kind,
        subject=one.subject,
        owner=one.owner,
        next_step=one.next_step,
        detail=one.detail,
        amount=one.amount_minor,
        currency=one.currency,
        since=one.since,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/books/journal",
        operation="getJournal",
        summary="Get the journal of a period",
        description=(
            "Every transfer of the period as a file: ?format=csv (`dialect` for a country's spreadsheet), "
            "json (one object per line), datev (EXTF posting batch: daily sums, or each transfer) or saft "
            "(OECD SAF-T 2.0). "
            "`reporting_currency` adds each amount at the ECB's rate of its day. X-Journal-Transfers and "
            "X-Journal-SHA256 say what the file holds; every hash of the period was recomputed before."
        ),
        tag="Settlement",
        handler=get_journal,
        query=JournalQuery,
        answers={200: None},
        also_gives=("text/csv", "application/x-ndjson", "application/xml"),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/books/trial-balance",
        operation="getTrialBalance",
        summary="Get the trial balance of a period",
        tag="Settlement",
        handler=get_trial_balance,
        query=TableQuery,
        also_gives=("text/csv",),
        answers={200: TrialBalanceLineSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/books/vat-return",
        operation="getVatReturn",
        summary="Get the VAT figures of a period",
        description=(
            "Base and tax in the currency that was charged, and beside it in the currency in which the "
            "country's tax is declared, at the ECB's rate of each day. Tax on reverse charge received is on "
            "both sides."
        ),
        tag="Settlement",
        handler=get_vat_return,
        query=TableQuery,
        also_gives=("text/csv",),
        answers={200: VatReturnSchema},
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/books/balances",
        operation="listTreasuryBalances",
        summary="List the balances of parties, reserves and funds",
        tag="Settlement",
        handler=list_balances,
        answers={200: TreasuryBalanceSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/books/closing-check",
        operation="getClosingCheck",
        summary="List what stands open at the end of a period",
        tag="Settlement",
        handler=get_closing_check,
        query=PeriodQuery,
        answers={200: ClosingCheckSchema},
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/books/close",
        operation="closeBooks",
        summary="Close the books up to the end of a period",
        description=(
            "Closes at once if nothing stands open. Otherwise the first person's request is recorded (202), "
            "and a second person's closes the books. Nothing is booked before a closed period's end any more."
        ),
        tag="Settlement",
        handler=close_books,
        body=CloseBooksBody,
        answers={200: ClosingCheckSchema, 202: ClosingCheckSchema},
        key_rule=KeyRule.NONE,
        problems=(problems.STATE_CONFLICT,),
    ),
)
