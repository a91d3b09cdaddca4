"""Where captured money goes: transfers between accounts as flows between those who pay and those who earn.

Owns: which account stands for whom. Must not know HTTP, SQL or how a flow is drawn. What an account receives in
all, less what it passes on, is its flow: the session's own transit accounts are no one's.
Account paths: clearing/ledger/journal_entry.py.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

DRIVER: Final = "driver"
_PARTY_KINDS: Final = frozenset({"cpo", "demand_partner", "emsp", "site_host"})
_ORDER: Final = ("cpo", "site_host", "demand_partner", "emsp", "platform", "vat", "psp", "fx", "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyFlow:
    """What one receiver gets of the drivers' money: `group` is its kind, `name` the party or country."""

    group: str
    name: str
    amount_minor: int
    currency: str


def receiver_of(account: str) -> tuple[str, str]:
    """Whose an account is: a kind and a name."""
    parts = account.split(":")
    kind = parts[0]
    if kind in _PARTY_KINDS:
        return kind, parts[1]
    if kind == "vat":
        return "vat", parts[1] if len(parts) > 1 else ""
    if kind == "platform" and len(parts) > 1:
        return ("psp", "") if parts[1] == "psp" else ("platform", "")
    if kind == "fx":
        return "fx", parts[1] if len(parts) > 1 else ""
    return "other", account


def flows_of_transfers(transfers: Iterable[Mapping[str, Any]], *, currency: str) -> list[MoneyFlow]:
    """The flows of transfers in one currency: each receiver's net credit, greatest kind first.

    A transfer is `debit`, `credit`, `minor`, `currency`. Accounts that pass on all that they get show nothing;
    what the PSP holds for us is where the drivers' money comes from.
    """
    net: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in transfers:
        if one["currency"] != currency:
            continue
        net[receiver_of(one["credit"])] += int(one["minor"])
        net[receiver_of(one["debit"])] -= int(one["minor"])
    found = [
        MoneyFlow(group=group, name=name, amount_minor=minor, currency=currency)
        for (group, name), minor in net.items()
        if minor > 0
    ]
    return sorted(found, key=lambda one: (_ORDER.index(one.group), -one.amount_minor, one.name))
