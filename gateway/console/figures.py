"""Amounts, energies, times and durations as people of a language write them.

Owns: their form. Must not know any page. Nothing is computed with a float.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from clearing.money import to_major

_NARROW_SPACE: Final = "\u202f"
NO_BREAK: Final = "\u00a0"
_MARKS: Final = {"en": (",", "."), "de": (".", ","), "fr": (_NARROW_SPACE, ","), "it": (".", ",")}
_MINUS: Final = "\u2212"
_MONTHS: Final = {
    "en": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "de": "Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
    "fr": "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
}
_DAYS: Final = {
    "en": "Mon Tue Wed Thu Fri Sat Sun",
    "de": "Mo. Di. Mi. Do. Fr. Sa. So.",
    "fr": "lun. mar. mer. jeu. ven. sam. dim.",
    "it": "lun mar mer gio ven sab dom",
}
_WH: Final = 1000
_MINUTE: Final = 60
_HOUR: Final = 3600


def number(value: Decimal | int, language: str) -> str:
    """A number with the language's marks: 12345.6 is 12,345.6 in English."""
    group, point = _MARKS[language]
    whole, _, fraction = f"{abs(Decimal(value)):,f}".partition(".")
    text = whole.replace(",", group) + (f"{point}{fraction}" if fraction else "")
    return f"{_MINUS}{text}" if value < 0 else text


def money(minor: int, currency: str, language: str) -> str:
    """Minor units as an amount with its currency, kept on one line."""
    return f"{number(to_major(minor, currency), language)}{NO_BREAK}{currency}"


def energy(watt_hours: int, language: str) -> str:
    """Watt hours as kWh, to the watt hour."""
    value = Decimal(watt_hours) / _WH
    shown = value.normalize() if watt_hours % _WH else value.quantize(Decimal(1))
    return f"{number(shown, language)}{NO_BREAK}kWh"


def duration(span: timedelta) -> str:
    """Hours and minutes; seconds where it was shorter than a minute."""
    seconds = int(span.total_seconds())
    hours, rest = divmod(seconds, _HOUR)
    if hours:
        return f"{hours}{NO_BREAK}h {rest // _MINUTE:02d}{NO_BREAK}min"
    return f"{rest // _MINUTE}{NO_BREAK}min" if rest >= _MINUTE else f"{rest}{NO_BREAK}s"


def day(value: date, language: str, *, weekday: bool = False) -> str:
    """A day, with its weekday where that helps."""
    month = _MONTHS[language].split(" ")[value.month - 1]
    text = f"{value.day}{'.' if language == 'de' else ''} {month} {value.year}"
    return f"{_DAYS[language].split(' ')[value.weekday()]} {text}" if weekday else text


def instant(value: datetime, zone: tzinfo, language: str) -> str:
    """A time of day on its day, in a zone."""
    local = value.astimezone(zone)
    return f"{day(local.date(), language)}, {local:%H:%M:%S}"


def zone_name(value: datetime, zone: tzinfo) -> str:
    """The zone's short name at that instant: CET, UTC, +02."""
    return value.astimezone(zone).tzname() or "UTC"


def parse_instant(text: str) -> datetime:
    """An instant as the API writes it. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def zone_of(name: str | None) -> tzinfo:
    """The zone that a browser named; UTC where it named none that there is."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
