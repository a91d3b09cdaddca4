"""A row of bars over time, as shapes in a fixed space.

Owns: the geometry. Must not know a language or HTML. The tallest bar fills the height.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 140
_GAP_OF: Final = 4  # a bar takes three of four parts of its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: its place, and what it stands for in minor units."""

    x: int
    y: int
    width: int
    height: int
    at: datetime
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """All bars of one currency."""

    bars: Sequence[Bar]
    currency: str
    total_minor: int
    width: int = WIDTH
    height: int = HEIGHT


def draw_bars(amounts: Sequence[tuple[datetime, int]], *, currency: str) -> BarChart:
    """Bars of amounts by their time."""
    most = max((amount for _, amount in amounts), default=0) or 1
    place = WIDTH / max(1, len(amounts))
    bars = []
    for number, (at, amount) in enumerate(amounts):
        height = max(2 if amount else 1, amount * HEIGHT // most)
        bars.append(
            Bar(
                x=round(number * place),
                y=HEIGHT - height,
                width=max(2, round(place * (_GAP_OF - 1) / _GAP_OF)),
                height=height,
                at=at,
                amount_minor=amount,
            )
        )
    return BarChart(bars=bars, currency=currency, total_minor=sum(amount for _, amount in amounts))
