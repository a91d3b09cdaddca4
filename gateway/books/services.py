"""The services of the books, built once a process.

Owns: which of them there are. Must not know: what they do.
"""

from dataclasses import dataclass
from importlib.metadata import version

from clearing.services import ClearingServices
from gateway.books.export_service import BookExportService
from gateway.books.period_close_service import PeriodCloseService
from gateway.clock import Clock
from gateway.database import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class BookServices:
    """Exports, and the closing of periods."""

    exports: BookExportService
    closing: PeriodCloseService


def build_books(
    pool: Pool, clock: Clock, clearing: ClearingServices, *, chart_path: str | None = None
) -> BookServices:
    """Both services; `chart_path` names the operator's chart of accounts."""
    return BookServices(
        exports=BookExportService(
            pool=pool,
            clock=clock,
            clearing=clearing,
            chart_path=chart_path,
            version=version("networkcore"),
        ),
        closing=PeriodCloseService(pool=pool, clock=clock, clearing=clearing),
    )
