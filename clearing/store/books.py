"""Questions about the books, answered from deltas and totals.

Owns: rows to values. Must not know: what is asked for.
"""

from collections.abc import Mapping
from datetime import datetime

from clearing.connection import Connection, named_queries, rows
from clearing.journal.ledger import position_account
from clearing.results import Balance, FxTotal, Summary

_sql = named_queries("books")


async def balances(connection: Connection, *, at: datetime | None = None, prefix: str = "") -> list[Balance]:
    """Debits and credits of every account below `prefix`, up to and including `at`."""
    return [
        Balance(**dict(row.items())) for row in await rows(_sql.balances(connection, at=at, prefix=prefix))
    ]


async def hold_position(connection: Connection, base: str, quote: str) -> None:
    """One execution of a pair at a time, until the transaction ends."""
    await _sql.hold_position(connection, pair=f"{base}-{quote}")


async def position(connection: Connection, base: str, quote: str) -> tuple[int, int]:
    """What a position holds: taken in `base`, and given for it in `quote`."""
    account = position_account(base, quote)
    found = {balance.currency: balance.minor for balance in await balances(connection, prefix=account)}
    return found.get(base, 0), -found.get(quote, 0)


async def executed(connection: Connection) -> dict[tuple[str, str], int]:
    """What executed exchanges moved on each position (credits minus debits), by account and currency."""
    return {(row["account"], row["currency"]): row["minor"] for row in await rows(_sql.executed(connection))}


async def summary(connection: Connection) -> Summary:
    """The books in a few figures."""
    accounts = await balances(connection)
    entries = await rows(_sql.captured(connection))
    payables = await rows(_sql.payable_sums(connection))
    fees = {
        balance.currency: balance.minor for balance in accounts if balance.account == "platform:fee:revenue"
    }
    costs = {
        balance.currency: -balance.minor for balance in accounts if balance.account == "platform:psp:expense"
    }
    return Summary(
        captured={row["currency"]: row["gross_minor"] for row in entries if row["kind"] == "capture"},
        vat_by_territory=_vat(accounts),
        share_by_party={
            (row["party_id"], row["currency"]): row["amount_minor"]
            for row in await rows(_sql.share_sums(connection))
        },
        platform_fee=fees,
        psp_fee=costs,
        paid={row["currency"]: row["amount_minor"] for row in await rows(_sql.disbursed(connection))},
        open_payables=_open([(row["currency"], row["state"], row["amount_minor"]) for row in payables]),
        fx=fx_totals(accounts),
        sessions_cleared=sum(row["entries"] for row in entries if row["kind"] == "capture"),
        sessions_parked=await _sql.parked_count(connection),
    )


def _open(payables: list[tuple[str, str, int]]) -> Mapping[str, int]:
    sums: dict[str, int] = {}
    for currency, state, minor in payables:
        if state != "paid":
            sums[currency] = sums.get(currency, 0) + minor
    return sums


def _vat(accounts: list[Balance]) -> Mapping[tuple[str, str], int]:
    """Output VAT by territory and currency."""
    return {
        (balance.account.split(":")[1], balance.currency): balance.minor
        for balance in accounts
        if balance.account.startswith("vat:") and balance.account.endswith(":output")
    }


def fx_totals(accounts: list[Balance]) -> list[FxTotal]:
    """What each position took in its base and gave in its quote, each a positive amount."""
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for balance in accounts:
        kind, _, rest = balance.account.partition(":")
        pair, _, what = rest.partition(":")
        if kind == "fx" and what == "position":
            base, _, quote = pair.partition("-")
            sums.setdefault((base, quote), {})[balance.currency] = balance.minor
    return [
        FxTotal(base=base, quote=quote, sold_minor=found.get(base, 0), bought_minor=-found.get(quote, 0))
        for (base, quote), found in sorted(sums.items())
    ]
