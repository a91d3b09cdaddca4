"""Prices as text: what a tariff costs before the start, and what each line of a receipt is for.

Owns: the order and form of price strings, receipt lines. Must not know: how a price is computed.
Source: Regulation (EU) 2023/1804 (AFIR) art. 5(4) and (5): price components shown before the start in the
order price per kWh, price per minute, price per session, any other.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Final

from clearing.money import Rounding, exponent, quantize
from clearing.pricing.exact import EXACT
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.priced import Line, PricedSession, Reason
from clearing.pricing.restrictions import DAY_SECONDS, Moment, Phase, Restrictions
from clearing.pricing.tariff import Dimension, PriceComponent, PriceLimit, Tariff, TariffElement, TaxMode
from clearing.pricing.translations import Translations, number_text, translations_for

MINUTES_PER_HOUR: Final = Decimal(60)
HUNDRED: Final = Decimal(100)
UNIT_DIGITS: Final = 4
# AFIR art. 5(4): kWh, minute, session, other; limits and reservations are the other components.
_RANK: Final = {Dimension.ENERGY: 0, Dimension.TIME: 1, Dimension.PARKING_TIME: 2, Dimension.FLAT: 3}
_OTHER: Final = 4


def display_prices(tariff: Tariff, *, locale: str = "en") -> tuple[str, ...]:
    """The price components of a tariff to show before the start, tax included where its rate is stated.

    Per kWh first, then per minute, per session, and others; each with the conditions under which it applies.
    `locale` is a language (en, de, fr, it) or a locale such as de-AT; any other language reads English.
    """
    translations = translations_for(locale)
    ranked: list[tuple[int, str]] = []
    for element in tariff.elements:
        rules = element.restrictions
        phase = Phase.SESSION if rules is None else rules.phase
        for component in element.components:
            if component.dimension is None or phase in {Phase.UNKNOWN, Phase.CANCELLATION}:
                continue
            rank = _RANK[component.dimension] if phase is Phase.SESSION else _OTHER
            ranked.append((rank, _component_text(tariff, component, rules, phase, translations)))
    ranked.sort(key=lambda entry: entry[0])
    texts = [text for _, text in ranked]
    for label, limit in ((translations.minimum, tariff.min_price), (translations.maximum, tariff.max_price)):
        if limit is not None:
            texts.append(f"{label}: {_limit_text(tariff, limit, translations)}")
    return tuple(dict.fromkeys(texts))


def receipt(priced: PricedSession, *, locale: str = "en") -> tuple[str, ...]:
    """The lines of a receipt: one for each billed part, then each rate's tax, then the total."""
    translations = translations_for(locale)
    texts = [_line_text(line, priced.currency, translations) for line in priced.lines]
    net, gross = (_minor(priced, side) for side in ("excl", "incl"))
    texts.append(f"{translations.total_net}: {_money(net, priced.currency, translations)}")
    for share in priced.taxes:
        if share.percent is not None:
            label = translations.tax.format(percent=number_text(share.percent, translations))
            amount = Decimal(share.tax_minor).scaleb(-exponent(priced.currency))
            texts.append(f"{label}: {_money(amount, priced.currency, translations)}")
    tail = "" if priced.tax_known else f" ({translations.tax_extra})"
    texts.append(f"{translations.total}: {_money(gross, priced.currency, translations)}{tail}")
    return tuple(texts)


def _minor(priced: PricedSession, side: str) -> Decimal:
    minor = priced.excl_vat_minor if side == "excl" else priced.incl_vat_minor
    return Decimal(minor).scaleb(-exponent(priced.currency))


def _money(amount: Decimal, currency: str, translations: Translations) -> str:
    return f"{number_text(amount, translations, least_digits=exponent(currency))} {currency}"


def _component_text(
    tariff: Tariff,
    component: PriceComponent,
    rules: Restrictions | None,
    phase: Phase,
    translations: Translations,
) -> str:
    amount = shown_price(tariff, component)
    text = _unit_text(component, phase, translations, _money(amount, tariff.currency, translations))
    if component.vat:
        text += f" ({translations.tax.format(percent=number_text(component.vat, translations))})"
    elif component.price and component.vat is None and adds_tax(tariff):
        text += f" ({translations.tax_extra})"
    details = list(_conditions(rules, translations))
    step = _step_text(component, translations)
    if step:
        details.append(step)
    return ", ".join([text, *details])


def component_text(tariff: Tariff, element: TariffElement, component: PriceComponent, *, locale: str) -> str:
    """One price component as `display_prices` shows it."""
    rules = element.restrictions
    phase = Phase.SESSION if rules is None else rules.phase
    return _component_text(tariff, component, rules, phase, translations_for(locale))


def adds_tax(tariff: Tariff) -> bool:
    """Whether a price without a rate has tax still to come; in 2.2.1 an unstated rate is none."""
    return tariff.tax_mode is TaxMode.EXCLUDED and tariff.version is not OcpiVersion.V2_2_1


def shown_price(tariff: Tariff, component: PriceComponent) -> Decimal:
    """A price as it is shown: per kWh, per minute or flat, with tax where its rate is stated, 4 decimals."""
    amount = component.price
    if tariff.tax_mode is TaxMode.EXCLUDED and component.vat:
        amount = EXACT.divide(EXACT.multiply(amount, EXACT.add(HUNDRED, component.vat)), HUNDRED)
    if component.dimension in {Dimension.TIME, Dimension.PARKING_TIME}:
        amount = EXACT.divide(amount, MINUTES_PER_HOUR)
    return quantize(amount, digits=UNIT_DIGITS, rounding=Rounding.HALF_AWAY)


def _unit_text(component: PriceComponent, phase: Phase, translations: Translations, price: str) -> str:
    match component.dimension:
        case Dimension.ENERGY:
            return translations.per_kwh.format(price=price)
        case Dimension.FLAT:
            flat = {
                Phase.RESERVATION: translations.per_reservation,
                Phase.RESERVATION_EXPIRES: translations.per_expired,
            }.get(phase, translations.per_session)
            return flat.format(price=price)
        case Dimension.PARKING_TIME:
            return translations.per_minute.format(price=price, when=translations.while_parking)
        case _:
            when = {
                Phase.RESERVATION: translations.while_reserved,
                Phase.RESERVATION_EXPIRES: translations.while_expired,
                Phase.OVERTIME: translations.while_overtime,
            }.get(phase, translations.while_charging)
            return translations.per_minute.format(price=price, when=when)


def _step_text(component: PriceComponent, translations: Translations) -> str:
    """The step, where it is more than a watt-hour or a second: that much may be billed unused."""
    step = Decimal(component.step_size)
    if component.dimension is Dimension.ENERGY and component.step_size > 1:
        return translations.blocks.format(step=f"{number_text(step / 1000, translations)} kWh")
    if component.dimension in {Dimension.TIME, Dimension.PARKING_TIME} and component.step_size > 1:
        return translations.blocks.format(step=_duration(step, translations))
    return ""


def _duration(seconds: Decimal, translations: Translations) -> str:
    if seconds % 60:
        return f"{number_text(seconds, translations)} s"
    return f"{number_text(seconds / 60, translations)} min"


def _conditions(rules: Restrictions | None, translations: Translations) -> Iterator[str]:
    if rules is None:
        return
    if rules.start_second is not None and rules.end_second is not None:
        yield translations.between.format(start=_clock(rules.start_second), end=_clock(rules.end_second))
    if rules.weekdays is not None:
        yield translations.on.format(days=_days(rules.weekdays, translations))
    for day, text in (
        (rules.start_date, translations.dates_from),
        (rules.end_date, translations.dates_until),
    ):
        if day is not None:
            yield text.format(date=_day(day))
    for value, text in (
        (rules.min_kwh, translations.energy_from),
        (rules.max_kwh, translations.energy_until),
        (rules.min_power, translations.power_from),
        (rules.max_power, translations.power_until),
        (rules.min_current, translations.current_from),
        (rules.max_current, translations.current_until),
    ):
        if value is not None:
            yield text.format(value=number_text(value, translations))
    for value, text in (
        (rules.min_duration, translations.time_from),
        (rules.max_duration, translations.time_until),
    ):
        if value is not None:
            minutes = quantize(value / 60, digits=1, rounding=Rounding.HALF_AWAY)
            yield text.format(value=number_text(minutes, translations))


def _clock(second: int) -> str:
    return "24:00" if second == DAY_SECONDS else f"{second // 3600:02}:{second % 3600 // 60:02}"


def _day(day: date) -> str:
    return day.isoformat()


def _days(weekdays: frozenset[int], translations: Translations) -> str:
    """Monday to Friday as a range where three or more follow each other."""
    names: list[str] = []
    day = 0
    while day < len(translations.day_names):
        last = day
        while last + 1 in weekdays:
            last += 1
        if day not in weekdays:
            day += 1
            continue
        run = translations.day_names[day : last + 1]
        names += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else run  # noqa: PLR2004 - two days are listed
        day = last + 1
    return ", ".join(names)


def _limit_text(tariff: Tariff, limit: PriceLimit, translations: Translations) -> str:
    if limit.incl_vat is not None:
        return _money(limit.incl_vat, tariff.currency, translations)
    amount = _money(limit.excl_vat or Decimal(0), tariff.currency, translations)
    return f"{amount} ({translations.tax_extra})" if tariff.tax_mode is TaxMode.EXCLUDED else amount


_LIMIT_LABEL: Final = {Reason.MIN_PRICE: "minimum", Reason.MAX_PRICE: "maximum", Reason.FLOOR: "floor"}


def _line_text(line: Line, currency: str, translations: Translations) -> str:
    cost = _money(
        quantize(line.excl_vat, digits=UNIT_DIGITS, rounding=Rounding.HALF_AWAY), currency, translations
    )
    if line.reason in _LIMIT_LABEL:
        return f"{getattr(translations, _LIMIT_LABEL[line.reason])}: {cost}"
    label = _label(line, translations)
    if line.dimension is Dimension.FLAT or line.price is None:
        return f"{label}: {cost}"
    volume, billed = (
        _volume(line.volume, line.unit, translations),
        _volume(line.billed_volume, line.unit, translations),
    )
    if line.reason is Reason.STEPPED:
        step = Decimal(line.step_size)
        block = (
            _duration(step, translations)
            if line.unit == "s"
            else f"{number_text(step / 1000, translations)} kWh"
        )
        rounded = translations.billed.format(volume=volume, billed=billed)
        volume = f"{rounded} ({translations.blocks.format(step=block)})"
    rate = number_text(line.price, translations, least_digits=exponent(currency))
    per = "kWh" if line.unit == "kWh" else "h"
    return f"{label}: {volume} x {rate} {currency}/{per} = {cost}"


def _label(line: Line, translations: Translations) -> str:
    if line.dimension is Dimension.FLAT:
        return {
            Phase.RESERVATION: translations.flat_reservation,
            Phase.RESERVATION_EXPIRES: translations.flat_expired,
        }.get(line.phase, translations.flat)
    if line.phase is Phase.SESSION:
        return {
            Dimension.ENERGY: translations.energy,
            Dimension.PARKING_TIME: translations.parking,
        }.get(line.dimension or Dimension.TIME, translations.charging)
    return {
        Phase.RESERVATION: translations.reservation,
        Phase.RESERVATION_EXPIRES: translations.expired,
    }.get(line.phase, translations.overtime)


def _volume(volume: Decimal, unit: str, translations: Translations) -> str:
    if unit == "kWh":
        return f"{number_text(volume, translations)} kWh"
    whole = quantize(volume, digits=0, rounding=Rounding.HALF_AWAY)
    minutes, seconds = divmod(int(whole), 60)
    return f"{minutes} min" if not seconds else f"{minutes} min {seconds} s"


def describe_moment(moment: Moment, *, by_date: bool) -> str:
    """A moment of a session in a few English translations, for a person who mends a tariff."""
    translations = translations_for("en")
    day = _day(moment.day) if by_date else translations.day_names[moment.weekday]
    parts = [f"{day} {_clock(moment.second)}"]
    if moment.kwh:
        parts.append(f"after {number_text(moment.kwh, translations)} kWh")
    if moment.elapsed_us:
        parts.append(f"after {moment.elapsed_us // 60_000_000} min")
    for value, unit in ((moment.min_power, "kW"), (moment.min_current, "A")):
        if value:
            parts.append(f"at {number_text(value, translations)} {unit}")
    return ", ".join(parts)
