"""Pricing again: a captured session's price from its stored tariff and CDR, to prove what was captured.

Owns: the proof that the stored tariff is the one agreed on, a bounded cache of compiled tariffs.
Must not know: how pricing works, how the session was captured.
"""

from collections import OrderedDict
from decimal import Decimal
from hashlib import sha256
from typing import Final, Protocol

import msgspec

from clearing.captured_session import CapturedSession
from clearing.errors import ClearingError, UnclearableError
from clearing.pricing.cdr import parse_cdr
from clearing.pricing.engine import price
from clearing.pricing.program import PricingProgram, compile_tariff
from clearing.pricing.tariff import OcpiVersion, parse_tariff

MAX_PROGRAMS: Final = 4096


class RepricedSession(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the tariff gives: `incl_vat_minor` is the most that may be captured.

    `vat_minor` is the tariff's own VAT, 0 and not `tax_known` where it leaves the tax to somebody else;
    `tax_rates` are the rates, in percent, of the components that came to an amount.
    """

    currency: str
    incl_vat_minor: int
    vat_minor: int
    tax_known: bool
    energy_kwh: Decimal
    policy: str
    tax_rates: tuple[Decimal, ...] = ()


class Repricer(Protocol):
    """Prices a captured session again from its stored originals."""

    def __call__(self, session: CapturedSession) -> RepricedSession:
        """The price by the frozen tariff. Raises UnclearableError with the reason where there is none."""
        ...


class TariffRepricer:
    """Prices from stored originals. Caches the last few thousand compiled tariffs by their hash."""

    __slots__ = ("_programs",)

    def __init__(self) -> None:
        self._programs: OrderedDict[tuple[str, str], PricingProgram] = OrderedDict()

    def __call__(self, session: CapturedSession) -> RepricedSession:
        """The price of `session` by its frozen tariff.

        Raises UnclearableError: `tariff_hash`, `tariff_unreadable`, `cdr_unreadable`, `cdr_differs`,
        `unpriceable`.
        """
        program = self._program(session)
        try:
            cdr = parse_cdr(session.cdr_json, version=OcpiVersion(session.cdr_version))
        except (ClearingError, ValueError) as error:
            raise UnclearableError("cdr_unreadable", str(error)) from error
        if cdr.id != session.cdr_id:
            raise UnclearableError(
                "cdr_differs", f"the stored CDR is {cdr.id!r}, the session names {session.cdr_id!r}"
            )
        if cdr.credit:
            raise UnclearableError(
                "credit_cdr", f"CDR {cdr.id!r} is a credit: it reverses, it can't be captured"
            )
        try:
            priced = price(program, cdr, time_zone=session.time_zone)
        except ClearingError as error:
            raise UnclearableError("unpriceable", str(error)) from error
        return RepricedSession(
            currency=priced.currency,
            incl_vat_minor=priced.incl_vat_minor,
            vat_minor=priced.incl_vat_minor - priced.excl_vat_minor,
            tax_known=priced.tax_known,
            energy_kwh=priced.energy_kwh,
            policy=priced.policy,
            tax_rates=tuple(rate for rate, totals in priced.rates if rate is not None and totals.incl_vat),
        )

    def _program(self, session: CapturedSession) -> PricingProgram:
        key = (session.tariff_sha256, session.tariff_version)
        program = self._programs.get(key)
        if program is not None:
            self._programs.move_to_end(key)
            return program
        found = sha256(session.tariff_json).hexdigest()
        if found != session.tariff_sha256:
            raise UnclearableError(
                "tariff_hash", f"the stored tariff hashes to {found}, not to {session.tariff_sha256}"
            )
        try:
            tariff = parse_tariff(session.tariff_json, version=OcpiVersion(session.tariff_version))
            program = compile_tariff(tariff)
        except (ClearingError, ValueError) as error:
            raise UnclearableError("tariff_unreadable", str(error)) from error
        self._programs[key] = program
        if len(self._programs) > MAX_PROGRAMS:
            self._programs.popitem(last=False)
        return program
