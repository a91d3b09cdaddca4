"""The ledger: entries posted, the platform's own money booked, balances, statements and closed periods.

Owns: the order of steps inside the caller's transaction. Must not know: sessions, HTTP, the PSP. Every
function takes the connection; none commits.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import uuid5

from clearing.connection import Connection
from clearing.ledger import (
    account_statement,
    account_transfers_repository,
    balance_repository,
    period_close,
    repository,
    treasury,
)
from clearing.ledger import account_statement_repository as statement_repository
from clearing.ledger.account_transfers import AccountTransfer, TransferPlace
from clearing.ledger.balances import AccountBalance
from clearing.ledger.journal_entry import EntryKind, JournalEntry
from clearing.ledger.period_close import CloseRequest


async def post_entries(connection: Connection, entries: Sequence[JournalEntry], *, now: datetime) -> bool:
    """Post entries in one batch; False if all of them are posted already. Raises ClosedPeriodError."""
    await repository.lock_open(connection, now=now)
    # The batch is named by all of its entries: one that was posted before beside others was another batch.
    keys = sorted(repository.key_of(entry) for entry in entries)
    names = [f"{kind}/{reference}" for _, kind, reference in keys[:1]]
    names += [f"{subject}/{kind}/{reference}" for subject, kind, reference in keys[1:]]
    batch_id = uuid5(keys[0][0], " ".join(names))
    posted = await repository.post(connection, entries, seal=repository.new_seal(batch_id, 0, now))
    return posted.hash is not None


async def load_posted_top_up(connection: Connection, *, reference: str) -> tuple[str, int] | None:
    """Currency and minor units of the top-up that is booked under `reference`; None where none is."""
    return await repository.load_posted_amount(
        connection,
        subject_id=treasury.subject_of(EntryKind.TOPUP, reference),
        kind=EntryKind.TOPUP,
        reference=reference,
    )


async def record_top_up(
    connection: Connection, *, currency: str, minor: int, reference: str, now: datetime
) -> bool:
    """Book a top-up of the platform's balance at the PSP; False if `reference` is booked already.

    Raises InvalidAmountError.
    """
    entry = treasury.topup(currency=currency, minor=minor, reference=reference)
    return await post_entries(connection, [entry], now=now)


async def record_top_up_reversed(
    connection: Connection,
    *,
    currency: str,
    minor: int,
    reference: str,
    partner_id: str | None,
    now: datetime,
) -> bool:
    """Book that the bank took a top-up back (`partner_id`: a partner's); False if it is booked already."""
    entry = treasury.topup_reversed(
        currency=currency, minor=minor, reference=reference, partner_id=partner_id
    )
    return await post_entries(connection, [entry], now=now)


async def record_psp_fee(
    connection: Connection, *, currency: str, minor: int, reference: str, now: datetime
) -> bool:
    """Book the PSP's fee on a charge that no capture has; False if `reference` is booked already."""
    entry = treasury.psp_fee(currency=currency, minor=minor, reference=reference)
    return await post_entries(connection, [entry], now=now)


async def record_partner_funding(
    connection: Connection, *, partner_id: str, currency: str, minor: int, reference: str, now: datetime
) -> bool:
    """Book money that a partner paid into its funded account; False if `reference` is booked already."""
    entry = treasury.partner_funding(
        partner_id=partner_id, currency=currency, minor=minor, reference=reference
    )
    return await post_entries(connection, [entry], now=now)


async def record_fx_execution(
    connection: Connection,
    *,
    base: str,
    quote: str,
    sold_minor: int,
    bought_minor: int,
    reference: str,
    now: datetime,
) -> bool:
    """Close a part of a position at the rate executed; the difference to the FX locks is gain or loss.

    False if `reference` is booked already. Raises ClearingConflictError for more than the position holds.
    """
    await balance_repository.lock_position(connection, base, quote)
    position_minor, cost_minor = await balance_repository.load_position(connection, base, quote)
    entry = treasury.execution(
        base=base,
        quote=quote,
        sold_minor=sold_minor,
        bought_minor=bought_minor,
        position_minor=position_minor,
        cost_minor=cost_minor,
        reference=reference,
    )
    return await post_entries(connection, [entry], now=now)


async def sum_psp_conversions(connection: Connection) -> dict[str, int]:
    """What the PSP's booked conversions brought into its balance less what they took out, by currency."""
    return await balance_repository.sum_psp_conversions(connection)


async def list_balances(
    connection: Connection, *, at: datetime | None = None, prefix: str = ""
) -> Sequence[AccountBalance]:
    """Every account's balance at an instant (by default all that is booked), or of those below a path."""
    return await balance_repository.list_balances(connection, at=at, prefix=prefix)


async def list_balances_of(
    connection: Connection, *, account: str, at: datetime | None = None
) -> Sequence[AccountBalance]:
    """One account's balance in each of its currencies, at an instant or now; none: it never moved."""
    return await account_transfers_repository.list_balances_of(connection, account=account, at=at)


async def list_transfers(
    connection: Connection,
    *,
    account: str,
    currency: str,
    at: datetime | None = None,
    after: TransferPlace | None = None,
    limit: int,
) -> Sequence[AccountTransfer]:
    """An account's transfers of a currency, newest first: up to and including `at`, after the place `after`.

    Raises InvalidBooksRequestError where the batch of `after` is not there.
    """
    return await account_transfers_repository.list_transfers(
        connection, account=account, currency=currency, at=at, after=after, limit=limit
    )


async def find_closed_until(connection: Connection) -> datetime | None:
    """Up to which instant the books are closed, exclusive; None: no period is closed."""
    return await repository.find_closed_until(connection)


async def close_period(connection: Connection, *, until: datetime, by: str, now: datetime) -> None:
    """Close the books up to `until` and store every balance of that instant; nothing is booked before it.

    Waits for batches under way. Closing the same instant again is a no-op; raises ClearingConflictError for
    one before the last closing or still to come.
    """
    period_close.check_ended(until, now=now)
    previous = await statement_repository.close(connection, until=until, by=by, now=now)
    period_close.check_order(until, previous=previous)


async def close_period_by_rule(
    connection: Connection, *, until: datetime, by: str, open_points: int, now: datetime
) -> CloseRequest | None:
    """Close a period at once where nothing stands open, else with the second person who asks for it.

    Returns the first person's request while it waits for the second; None: the period is closed. Raises
    ClearingConflictError as `close_period` does, and if the same person asks twice.
    """
    period_close.check_ended(until, now=now)
    period_close.check_order(until, previous=await find_closed_until(connection))
    request = await statement_repository.find_close_request(connection, until=until)
    if open_points and request is None:
        await statement_repository.insert_close_request(
            connection, until=until, by=by, open_points=open_points, now=now
        )
        return await statement_repository.find_close_request(connection, until=until)
    if open_points and request is not None and request.confirmed_by is None:
        period_close.check_confirmation(request, by=by)
        await statement_repository.confirm_close_request(connection, until=until, by=by, now=now)
    await close_period(connection, until=until, by=by, now=now)
    return None


async def list_statement_lines(
    connection: Connection, *, account: str, currency: str, since: datetime, until: datetime
) -> AsyncIterator[str]:
    """An account statement line by line, in constant memory: header, a line per batch, footer.

    `clearing.ledger.account_statement` verifies it. Needs one snapshot (repeatable read) to be complete while
    others write.
    """
    balance = await statement_repository.load_opening(
        connection, account=account, currency=currency, since=since
    )
    yield account_statement.header(
        account=account, currency=currency, since=since, until=until, opening_minor=balance
    )
    count = 0
    span = statement_repository.list_batches(
        connection, account=account, currency=currency, since=since, until=until
    )
    async for batch in span:
        line, moved, shown = account_statement.batch_line(batch, account=account, currency=currency)
        balance += moved
        count += shown
        yield line
    yield account_statement.footer(closing_minor=balance, lines=count)
