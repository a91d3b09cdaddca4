"""The day on one screen: tables for a person, then the proof.

Pure rendering with rich: values in, renderables out. Must not know HTTP or how a figure came about.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clearing.money import to_major
from sandbox.market.participants import BUSINESSES, CPO_BY_ID
from sandbox.market.payout_phase import DayResult, PayoutLine
from sandbox.market.plan import DriverMethod
from sandbox.market.proof import Proof

_OUTCOMES: Final = ("captured", "released", "declined", "rejected", "not captured", "lost")
_NAMES: Final = {party.party_id: party.name for party in BUSINESSES} | {
    party_id: cpo.name for party_id, cpo in CPO_BY_ID.items()
}


def show(console: Console, result: DayResult, proof: Proof) -> None:
    """Print the whole report."""
    console.print()
    console.print(Columns([_outcomes(result), _captures(result)], padding=(0, 3)))
    console.print(Columns([_amounts("VAT", "Country", result.vat), _exchanges(result)], padding=(0, 3)))
    console.print(_shares(result))
    console.print(_calendar(result.calendar))
    console.print(_explained(result))
    console.print(_webhooks(result))
    console.print(_proof(proof))


def money(minor: int, currency: str) -> str:
    """'1,234.50' with the currency's own decimals."""
    return f"{to_major(minor, currency):,}"


def _table(title: str, *columns: str) -> Table:
    """A table; columns whose name starts with '>' are figures."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        figures = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if figures else "left", no_wrap=True)
    return table


def _outcomes(result: DayResult) -> Table:
    seen = [name for name in _OUTCOMES if any(found == name for _, found in result.outcomes)]
    table = _table("Sessions", "Method", *(f">{name}" for name in seen), ">all")
    for method in DriverMethod:
        counts = [result.outcomes.get((method.value, name), 0) for name in seen]
        table.add_row(
            method.value.replace("_", " "), *(str(count or "") for count in counts), str(sum(counts))
        )
    totals = [sum(result.outcomes.get((method.value, name), 0) for method in DriverMethod) for name in seen]
    table.add_section()
    table.add_row("all", *(str(total) for total in totals), str(sum(totals)))
    return table


def _captures(result: DayResult) -> Table:
    table = _table("Captured, once each", "", ">captures", ">amount", ">PSP fee")
    for currency, (count, amount, fee) in sorted(result.captures.items()):
        table.add_row(currency, str(count), money(amount, currency), money(fee, currency))
    return table


def _amounts(title: str, first: str, amounts: Mapping[tuple[str, str], int]) -> Table:
    table = _table(title, first, "", ">amount")
    for (name, currency), minor in sorted(amounts.items()):
        table.add_row(name, currency, money(minor, currency))
    return table


def _exchanges(result: DayResult) -> Table:
    table = _table("Exchange, locked per session at the ECB's reference rate", "Pair", ">sold", ">bought")
    for line in result.exchanges:
        table.add_row(
            f"{line.base} to {line.quote}",
            f"{money(line.sold, line.base)} {line.base}",
            f"{money(line.bought, line.quote)} {line.quote}",
        )
    return table


def _shares(result: DayResult) -> Table:
    table = _table("Shares", "Party", "", "", ">amount")
    for (party_id, currency), minor in sorted(result.shares.items()):
        table.add_row(party_id, _NAMES.get(party_id, ""), currency, money(minor, currency))
    return table


def _calendar(lines: Sequence[PayoutLine]) -> Table:
    table = _table("Disbursement calendar", "Due", "party", "", ">amount", ">sessions", "state")
    for due, group in groupby(sorted(lines, key=lambda line: (line.due, line.party)), lambda line: line.due):
        for place, line in enumerate(group):
            table.add_row(
                f"{due:%a %d %b %Y}" if place == 0 else "",
                line.party,
                line.currency,
                money(line.amount, line.currency),
                str(line.sessions),
                Text(line.state, style="green" if line.state == "paid" else "yellow"),
            )
    return table


def _explained(result: DayResult) -> Panel:
    text = Text("\n".join(result.explained))
    return Panel(
        text, title=f"One price explained: {result.explained_title}", title_align="left", expand=False
    )


def _webhooks(result: DayResult) -> Table:
    table = _table("Webhooks", "Party", ">events", ">received")
    for party_id, (events, received) in sorted(result.evidence.events.items()):
        table.add_row(party_id, str(events), str(received))
    return table


def _proof(proof: Proof) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in proof.checks:
        mark = Text("holds", style="green") if check.ok else Text("FAILS", style="bold red")
        table.add_row(mark, check.name, check.detail)
    conclusion = (
        Text(f"The proof holds. Figures {proof.digest}", style="bold green")
        if proof.ok
        else Text(f"The proof FAILS. Figures {proof.digest}", style="bold red")
    )
    return Panel(Group(table, Text(), conclusion), title="Proof", title_align="left", expand=False)
