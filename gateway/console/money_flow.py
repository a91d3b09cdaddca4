"""Where captured money goes: transfers between accounts as flows between those who pay and those who earn.

Owns: which account stands for whom. Must not know HTTP, SQL or how a flow is drawn. What an account receives
in all, less what it passes on, is its flow.
Account paths: clearing/ledger/journal_entry.py.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from clearing.ledger.journal_entry import PSP_EXPENSE

_PARTIES: Final = {"cpo": "cpo", "partner": "demand_partner", "emsp": "emsp", "site": "site_host"}
_ORDER: Final = ("cpo", "site_host", "demand_partner", "emsp", "platform", "vat", "psp", "fx", "other")
_SOURCE: Final = ("source", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyFlow:
    """What one receiver gets of the drivers' money: `group` is its kind, `name` the party or country."""

    group: str
    name: str
    amount_minor: int
    currency: str


def receiver_of(account: str) -> tuple[str, str]:
    """Whose an account is: a kind and a name. What drivers and funded accounts pay comes from the source."""
    kind, _, rest = account.partition(":")
    name, _, use = rest.partition(":")
    if kind in {"psp", "session"} or use == "funds":
        return _SOURCE
    if kind in _PARTIES:
        return _PARTIES[kind], name
    if kind in {"vat", "fx"}:
        return kind, name
    return ("platform", "") if kind == "platform" else ("other", account)


def flows_of_transfers(transfers: Iterable[Mapping[str, Any]], *, currency: str) -> list[MoneyFlow]:
    """The flows of transfers in one currency: what each receiver gets, by kind, then the greatest first.

    A transfer is `debit`, `credit`, `minor`, `currency`. The PSP's cost is an expense of the platform: it
    goes to the PSP out of the platform's part.
    """
    net: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in transfers:
        if one["currency"] != currency:
            continue
        minor = int(one["minor"])
        net[receiver_of(one["credit"])] += minor
        net[receiver_of(one["debit"])] -= minor
        if one["debit"] == PSP_EXPENSE:
            net["psp", ""] += minor
        if one["credit"] == PSP_EXPENSE:
            net["psp", ""] -= minor
    found = [
        MoneyFlow(group=group, name=name, amount_minor=minor, currency=currency)
        for (group, name), minor in net.items()
        if minor > 0 and (group, name) != _SOURCE
    ]
    return sorted(found, key=lambda one: (_ORDER.index(one.group), -one.amount_minor, one.name))
