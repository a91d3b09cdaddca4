"""The rates of a VAT return: exchange into the return's currency, and VAT that the customer declares itself.

Owns: which currency and which rate count. Must not know: the figures, the database. Sources: Directive
2006/112/EC art. 91(2) and 230 (currency and exchange rate), art. 196, 199a and 207 (tax due from the
customer, at the rate of the country and of the day).
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from clearing.books.journal import converted
from clearing.books.period import ReportingRates
from clearing.documents.tax_currency import state_currency
from clearing.fx import RateTable
from clearing.tax.vat import SupplyLeg
from clearing.tax.vat_rates import SupplyKind, VatRates


class ReturnRates:
    """The ECB's rate of each day; in the own country's currency the prescribed monthly ones, if given."""

    __slots__ = ("_daily", "_known", "_monthly", "_own", "_vat")

    def __init__(
        self,
        *,
        daily: RateTable,
        vat: VatRates,
        own_country: str,
        monthly: Mapping[tuple[str, str], tuple[Decimal, str]],
    ) -> None:
        """`monthly`: the value of one unit of a currency in that of `own_country`, with its source."""
        self._daily, self._vat, self._monthly = daily, vat, monthly
        self._own = state_currency(own_country)
        self._known: dict[str, ReportingRates] = {}

    def converted(self, minor: int, currency: str, *, into: str, day: date) -> int:
        """Minor units of `into`, half away from zero. Raises RateUnavailableError."""
        rates = self._known.get(into)
        if rates is None:
            monthly = self._monthly if into == self._own else {}
            rates = self._known[into] = ReportingRates(into, self._daily, monthly)
        return converted(minor, currency, day, rates)

    def charged_to_customer(self, country: str, leg: SupplyLeg, day: date) -> Decimal:
        """Percent that a customer declares under reverse charge. Raises RateUnavailableError."""
        kind = SupplyKind.ELECTRICITY if leg is SupplyLeg.TO_DEALER else SupplyKind.SERVICE
        return self._vat.rate(country, kind, day)
