"""The ledger: accounts at an instant, the hash heads, the journal as a file, and one account's transfers.

Owns: what each page reads, and the instant that its form asks for. Must not know how anything is posted. The
ledger is of every party's money: who reads it reads the books by the API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from aiohttp import web

from clearing.daily_audit.service import list_chain_heads
from clearing.errors import InvalidBooksRequestError
from clearing.ledger import service as ledger_service
from clearing.ledger.account_transfers import AccountTransfer, TransferPlace
from clearing.ledger.balances import AccountBalance
from clearing.ledger.journal_entry import EntryKind, is_account
from gateway.api import problems
from gateway.api.field_types import foreign_cursor
from gateway.api.problems import FieldError, ProblemError
from gateway.console import csv_file, csv_lists
from gateway.console.figures import zone_of
from gateway.console.instants import InstantNotReadError, read_instant
from gateway.console.page import ConsolePage, paged
from gateway.database import transaction
from gateway.ids import format_id

_PAGE: Final = 25
_ACCOUNTS: Final = 50
_FILE_PAGE: Final = 500
_READS: Final = "listTreasuryBalances"
_EXPORT: Final = ("datev_adviser", "datev_client")
# By kind of entry: the prefix of what its subject is; the subjects of other kinds have no page.
_OF_SESSION: Final = frozenset(
    {
        EntryKind.CAPTURE,
        EntryKind.REFUND,
        EntryKind.REFUND_FAILED,
        EntryKind.DISPUTE,
        EntryKind.DISPUTE_WON,
        EntryKind.SALE_CANCELLED,
        EntryKind.SALE_REISSUED,
    }
)
_OF_PAYOUT: Final = frozenset(
    {
        EntryKind.DISBURSEMENT,
        EntryKind.DISBURSEMENT_RETURN,
        EntryKind.RESERVE_WITHHELD,
        EntryKind.RESERVE_RELEASE,
        EntryKind.REMAINDER_CARRIED,
        EntryKind.REMAINDER_RELEASE,
    }
)
_OF_PARTY: Final = frozenset({"undocumented_period", "pending_driver_documents"})  # closing points
_BALANCE_COLUMNS: Final = ("account", "balance_minor", "currency")
_TRANSFER_COLUMNS: Final = (
    "booked_at",
    "kind",
    "other_account",
    "amount_minor",
    "currency",
    "subject",
    "reference",
    "batch",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenInstant:
    """Up to which instant a page shows the books: None is now. `problem` says why a text is none."""

    text: str
    zone_name: str
    zone: tzinfo
    at: datetime | None = None
    problem: str = ""

    @property
    def status(self) -> int:
        """The page's status: its form is given back with what is expected."""
        return 400 if self.problem else 200


async def _chosen(page: ConsolePage) -> ChosenInstant:
    zone_name = await page.services.books.exports.time_zone()
    zone, text = zone_of(zone_name), page.request.query.get("at", "").strip()
    if not text:
        return ChosenInstant(text="", zone_name=zone_name, zone=zone)
    problem, at = "", None
    try:
        at = read_instant(text, zone)
    except InstantNotReadError:
        problem = page.t("ledger.at_expected", zone=zone_name)
    if at is not None and at > page.services.now():
        problem = page.t("ledger.at_future")
    return ChosenInstant(text=text, zone_name=zone_name, zone=zone, at=at, problem=problem)


def _accept(chosen: ChosenInstant) -> None:
    """A file has no form to give back."""
    if chosen.problem:
        errors = [FieldError(pointer="/at", expected=chosen.problem)]
        raise ProblemError(problems.INVALID_PARAMETERS, chosen.problem, errors=errors)


async def ledger(page: ConsolePage) -> web.StreamResponse:
    """Accounts at an instant, hash heads, a month's trial balance, and what its closing still needs."""
    page.calls.need(_READS)
    now: datetime = page.services.now()
    period = page.request.query.get("period") or f"{now:%Y-%m}"
    if (file := csv_file.wanted(page)) is not None:
        return await _file(page, file, period)
    of_period = {"period": period}
    trial = await page.calls.read("getTrialBalance", query=of_period)
    closing = await page.calls.read("getClosingCheck", query=of_period)
    vat = await page.calls.read("getVatReturn", query=of_period)
    chosen = await _chosen(page)
    async with transaction(page.services.pool, isolation="repeatable_read") as connection:
        balances: Sequence[AccountBalance] = ()
        if not chosen.problem:
            balances = await ledger_service.list_balances(connection, at=chosen.at)
        heads, checkpoint = await list_chain_heads(connection)
    currency = page.request.query.get("currency", "")
    currencies = {one["currency"] for one in [*trial["data"], *vat["figures"]]}
    currencies.update(one.currency for one in balances)

    def shown(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [one for one in lines if not currency or one["currency"] == currency]

    found = [one for one in balances if not currency or one.currency == currency]
    found.sort(key=lambda one: (one.account, one.currency))
    if page.cursor is not None:
        found = [one for one in found if (one.account, one.currency) > _after(page.cursor)]
    return page.respond(
        "ledger.html",
        status=chosen.status,
        found=paged(
            found[: _ACCOUNTS + 1], limit=_ACCOUNTS, cursor=lambda one: f"{one.account}~{one.currency}"
        ),
        chosen=chosen,
        problem=chosen.problem,
        problem_field="at",
        heads=heads,
        checkpoint=checkpoint,
        trial=shown(trial["data"]),
        closing=closing,
        place_of=_place_of,
        vat={**vat, "figures": shown(vat["figures"])},
        period=period,
        currency=currency,
        currencies=sorted(currencies),
    )


def _place_of(point: Mapping[str, Any]) -> str | None:
    """The page of an account or a party that a closing point is about; None for others."""
    subject: str = point["subject"]
    if point["kind"] in _OF_PARTY:
        return f"/console/parties/{quote(subject)}"
    return f"/console/ledger/accounts/{quote(subject)}" if is_account(subject) else None


def _after(cursor: str) -> tuple[str, str]:
    account, mark, currency = cursor.rpartition("~")
    if not mark:
        raise foreign_cursor()
    return account, currency


async def _file(page: ConsolePage, name: str, period: str) -> web.StreamResponse:
    of_period = {"period": period}
    match name:
        case "trial":
            return await csv_file.answer_list(page, csv_lists.TRIAL_BALANCE, query=of_period)
        case "closing":
            return await csv_file.answer_list(page, csv_lists.CLOSING, query=of_period)
        case "vat":
            return await csv_file.answer_list(page, csv_lists.VAT, query=of_period)
        case "journal":
            form = page.request.query.get("form") or "csv"
            query = {**of_period, "format": form, **page.query(*_EXPORT)}
            return await csv_file.send_stream(page, await page.calls.answer("getJournal", query=query))
        case _:
            return await _balances_file(page)


async def _balances_file(page: ConsolePage) -> web.StreamResponse:
    chosen = await _chosen(page)
    _accept(chosen)
    currency = page.request.query.get("currency", "")
    async with transaction(page.services.pool, isolation="repeatable_read") as connection:
        found = await ledger_service.list_balances(connection, at=chosen.at)
    rows = [
        (one.account, one.minor, one.currency) for one in found if not currency or one.currency == currency
    ]
    return await csv_file.answer_rows(page, "balances", _BALANCE_COLUMNS, rows)


async def account(page: ConsolePage) -> web.StreamResponse:
    """One account: its balances now and at an instant, and its transfers in one currency."""
    page.calls.need(_READS)
    name = page.request.match_info["account"]
    chosen = await _chosen(page)
    after = _place(page.cursor)
    async with transaction(page.services.pool, isolation="repeatable_read") as connection:
        balances = await ledger_service.list_balances_of(connection, account=name)
        if not balances:
            raise ProblemError(problems.NOT_FOUND, f"There is no account {name}.")
        currencies = [one.currency for one in balances]
        currency = page.request.query.get("currency") or currencies[0]
        then = await ledger_service.list_balances_of(connection, account=name, at=chosen.at)
        found = await ledger_service.list_transfers(
            connection,
            account=name,
            currency=currency,
            at=chosen.at,
            after=after,
            limit=_PAGE + 1,
        )
    if csv_file.wanted(page) is not None:
        _accept(chosen)
        return await _transfers_file(page, name, currency, chosen)
    at_instant = {one.currency: one.minor for one in then}
    return page.respond(
        "ledger_account.html",
        status=chosen.status,
        shown_account=name,  # `account` is a macro of the frame
        chosen=chosen,
        problem=chosen.problem,
        problem_field="at",
        balances=[
            {"currency": one.currency, "now": one.minor, "then": at_instant.get(one.currency, 0)}
            for one in balances
        ],
        currency=currency,
        currencies=currencies,
        found=paged(found, limit=_PAGE, cursor=lambda one: one.place.to_text()),
        subject=_subject,
    )


def _place(cursor: str | None) -> TransferPlace | None:
    try:
        return None if cursor is None else TransferPlace.from_text(cursor)
    except InvalidBooksRequestError:
        raise foreign_cursor() from None


async def _transfers_file(
    page: ConsolePage, name: str, currency: str, chosen: ChosenInstant
) -> web.StreamResponse:
    async def read(last: AccountTransfer | None) -> Sequence[AccountTransfer]:
        async with page.services.pool.acquire() as connection:
            return await ledger_service.list_transfers(
                connection,
                account=name,
                currency=currency,
                at=chosen.at,
                after=None if last is None else last.place,
                limit=_FILE_PAGE,
            )

    def rows_of(one: AccountTransfer) -> Sequence[Sequence[Any]]:
        return [
            (
                one.booked_at,
                one.place.kind,
                one.other_of(name),
                one.minor_on(name),
                one.currency,
                _subject(one.place.kind, one.place.subject_id),
                one.place.reference,
                one.place.batch_id,
            )
        ]

    return await csv_file.answer_pages(page, "account-transfers", _TRANSFER_COLUMNS, read, rows_of)


def _subject(kind: str, subject_id: UUID) -> str:
    """The id of the session or payout that an entry is of; "" where it is of neither."""
    if kind in _OF_SESSION:
        return format_id("ses", subject_id)
    return format_id("dis", subject_id) if kind in _OF_PAYOUT else ""
