"""A Sankey diagram of flows from one source, as shapes in a fixed space.

Owns: the geometry, where each band begins and ends. Must not know money's meaning, a language or HTML. Bands
are as thick as their amounts; one that would be too thin to see has a least thickness, and the source is as
tall as all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.console.money_flow import MoneyFlow

WIDTH: Final = 760
_LEFT: Final = 130
_RIGHT: Final = 480
_BAR: Final = 10
_SPACE: Final = 260  # height that the greatest total takes
_LEAST: Final = 3
_GAP: Final = 18
_MARGIN: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowBand:
    """A band from the source to a receiver: an SVG path, and the bar and label at its end."""

    flow: MoneyFlow
    path: str
    bar_y: int
    bar_height: int
    label_y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowChart:
    """The whole drawing; sizes are SVG user units."""

    width: int
    height: int
    source_x: int
    source_y: int
    source_height: int
    bar_width: int
    bar_x: int
    label_x: int
    total_minor: int
    currency: str
    bands: Sequence[FlowBand]


def draw(flows: Sequence[MoneyFlow]) -> FlowChart:
    """The diagram of at least one flow."""
    total = sum(flow.amount_minor for flow in flows)
    heights = [max(_LEAST, flow.amount_minor * _SPACE // total) for flow in flows]
    tall = sum(heights)
    spread = tall + _GAP * (len(flows) - 1)
    source_y = _MARGIN + (spread - tall) // 2
    bands = []
    left, right = source_y, _MARGIN
    for flow, height in zip(flows, heights, strict=True):
        bands.append(
            FlowBand(
                flow=flow,
                path=_band(left, right, height),
                bar_y=right,
                bar_height=height,
                label_y=right + height // 2 + 4,
            )
        )
        left += height
        right += height + _GAP
    return FlowChart(
        width=WIDTH,
        height=spread + 2 * _MARGIN,
        source_x=_LEFT - _BAR,
        source_y=source_y,
        source_height=tall,
        bar_width=_BAR,
        bar_x=_RIGHT,
        label_x=_RIGHT + _BAR + 10,
        total_minor=total,
        currency=flows[0].currency,
        bands=bands,
    )


def _band(left: int, right: int, height: int) -> str:
    middle = (_LEFT + _RIGHT) // 2
    return (
        f"M{_LEFT} {left}C{middle} {left} {middle} {right} {_RIGHT} {right}V{right + height}"
        f"C{middle} {right + height} {middle} {left + height} {_LEFT} {left + height}Z"
    )
