"""The public tariff that a payment is bound to: freeze it, estimate the hold, price the CDR, display it.

Owns: the cache of compiled tariffs and the only calls into clearing's pricing from the payments. Must not
know: SQL, the PSP, states. A frozen tariff is found by its hash, so a cache entry never goes stale.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from clearing.pricing.cdr import Cdr, parse_cdr
from clearing.pricing.engine import PricedSession, PricingProgram, compile_tariff, price
from clearing.pricing.explain import display_prices
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.quote import Quote, QuoteRequest, quote
from clearing.pricing.tariff import TariffSnapshot, freeze, parse_tariff
from gateway.payments.views import TariffReference

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_CACHED_TARIFFS: Final = 2_000
_CACHED_TEXTS: Final = 500  # raw tariffs and what is shown of them
_LARGEST_BYTES: Final = 65_536


@dataclass(slots=True)
class TariffSnapshotService:
    """Compiled tariffs by hash, the least recently used removed first."""

    _programs: OrderedDict[str, PricingProgram] = field(default_factory=OrderedDict)
    _frozen: OrderedDict[tuple[bytes, str], TariffSnapshot] = field(default_factory=OrderedDict)
    _shown: OrderedDict[tuple[bytes, str, str], Sequence[str]] = field(default_factory=OrderedDict)

    def freeze(self, raw: bytes, *, version: str) -> TariffSnapshot:
        """Canonical JSON and hash of a CPO's tariff. Raises the tariff's own errors when it can't be read."""
        known = self._frozen.get((raw, version))
        if known is None:
            known = freeze(raw, version=OcpiVersion(version))
            _remember(self._frozen, (raw, version), known, size=len(raw))
        return known

    def program(self, *, sha256: str, canonical: bytes, version: str) -> PricingProgram:
        """The compiled tariff of a snapshot."""
        known = self._programs.get(sha256)
        if known is not None:
            self._programs.move_to_end(sha256)
            return known
        compiled = compile_tariff(parse_tariff(canonical, version=OcpiVersion(version)))
        self._programs[sha256] = compiled
        if len(self._programs) > _CACHED_TARIFFS:
            self._programs.popitem(last=False)
        return compiled

    def quote(
        self,
        snapshot: TariffSnapshot,
        *,
        energy_wh: int,
        duration_s: int,
        start: datetime,
        time_zone: str,
        max_power_w: int | None,
    ) -> Quote:
        """The price of an expected session and the hold that it implies."""
        program = self.program(
            sha256=snapshot.sha256, canonical=snapshot.canonical, version=snapshot.version.value
        )
        request = QuoteRequest(
            energy_wh=energy_wh,
            duration_s=duration_s,
            start=start,
            time_zone=time_zone,
            max_power_w=max_power_w,
        )
        return quote(program, request)

    def price(
        self, *, sha256: str, canonical: bytes, version: str, cdr: Cdr, time_zone: str
    ) -> PricedSession:
        """The price of a CDR by a frozen tariff, in the location's time zone."""
        return price(
            self.program(sha256=sha256, canonical=canonical, version=version), cdr, time_zone=time_zone
        )

    def prices_time(self, *, sha256: str, canonical: bytes, version: str) -> bool:
        """Whether a frozen tariff prices time, charging or parked."""
        program = self.program(sha256=sha256, canonical=canonical, version=version)
        return any(phase.time or phase.parking for phase in program.by_phase.values())

    def display(self, canonical: bytes, *, version: str, locale: str = "en") -> Sequence[str]:
        """Price components to show before the start, per kWh first (Regulation (EU) 2023/1804 art. 5)."""
        key = (canonical, version, locale)
        known = self._shown.get(key)
        if known is None:
            known = tuple(
                display_prices(parse_tariff(canonical, version=OcpiVersion(version)), locale=locale)
            )
            _remember(self._shown, key, known, size=len(canonical))
        return known

    def reference(self, *, sha256: str, canonical: bytes, version: str) -> TariffReference:
        """A frozen tariff as public objects name it."""
        return TariffReference(
            sha256=sha256, version=version, display=self.display(canonical, version=version)
        )

    def read_cdr(self, raw: bytes, *, version: str) -> Cdr:
        """A CDR's bytes as a value. Raises the CDR's own errors when it can't be read."""
        return parse_cdr(raw, version=OcpiVersion(version))


def _remember(cache: OrderedDict[_Key, _Value], key: _Key, value: _Value, *, size: int) -> None:
    """Keep a value by the bytes that it follows from, the oldest removed first; large ones are not kept."""
    if size > _LARGEST_BYTES:
        return
    cache[key] = value
    if len(cache) > _CACHED_TEXTS:
        cache.popitem(last=False)
