"""The books in a few figures, for the API, the console and the demo.

Owns: the questions. Must not know: how they are shown. It only reads.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from clearing.connection import Connection, named_queries, rows
from clearing.ledger import service as ledger_service
from clearing.ledger.balances import AccountBalance, FxTotal, fx_totals

_QUERIES: Final[Any] = named_queries("summary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The books in a few figures, each keyed by currency."""

    captured: Mapping[str, int]
    vat_by_tax_jurisdiction: Mapping[tuple[str, str], int]
    share_by_party: Mapping[tuple[str, str], int]
    platform_fee: Mapping[str, int]
    psp_fee: Mapping[str, int]
    paid: Mapping[str, int]
    open_payables: Mapping[str, int]
    fx: Sequence[FxTotal]
    sessions_cleared: int
    sessions_in_exception: int


async def read_summary(connection: Connection) -> Summary:
    """All figures; on one snapshot if the transaction is repeatable read."""
    accounts = await ledger_service.list_balances(connection)
    captures = await rows(_QUERIES.captures(connection))
    return Summary(
        captured={row["currency"]: row["gross_minor"] for row in captures},
        vat_by_tax_jurisdiction=_output_vat(accounts),
        share_by_party={
            (row["party_id"], row["currency"]): row["amount_minor"]
            for row in await rows(_QUERIES.share_sums(connection))
        },
        platform_fee=_balance_of("platform:fee:revenue", accounts),
        psp_fee={
            currency: -minor for currency, minor in _balance_of("platform:psp:expense", accounts).items()
        },
        paid={row["currency"]: row["amount_minor"] for row in await rows(_QUERIES.paid_sums(connection))},
        open_payables={
            row["currency"]: row["amount_minor"] for row in await rows(_QUERIES.open_sums(connection))
        },
        fx=fx_totals(accounts),
        sessions_cleared=sum(row["entries"] for row in captures),
        sessions_in_exception=await _QUERIES.sessions_in_exception(connection),
    )


def _balance_of(account: str, accounts: Iterable[AccountBalance]) -> dict[str, int]:
    return {balance.currency: balance.minor for balance in accounts if balance.account == account}


def _output_vat(accounts: Iterable[AccountBalance]) -> dict[tuple[str, str], int]:
    """Output VAT by tax jurisdiction and currency."""
    return {
        (balance.account.split(":")[1], balance.currency): balance.minor
        for balance in accounts
        if balance.account.startswith("vat:") and balance.account.endswith(":output")
    }
