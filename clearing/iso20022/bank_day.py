"""The day of a bank's date or time, in the account's own country.

Owns: the country's time zone, and what an instant is there. Must not know: messages.
Source: ISO 20022 DateAndDateTime2Choice: a date, or a time with an offset, with Z or without either.
"""

from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from clearing.errors import UnreadableMessageError

# Where a country has several zones, the one of its capital, in which its payment system settles.
_ZONES: Final = MappingProxyType(
    {
        "AD": "Europe/Andorra",
        "AL": "Europe/Tirane",
        "AT": "Europe/Vienna",
        "BE": "Europe/Brussels",
        "BG": "Europe/Sofia",
        "CH": "Europe/Zurich",
        "CY": "Asia/Nicosia",
        "CZ": "Europe/Prague",
        "DE": "Europe/Berlin",
        "DK": "Europe/Copenhagen",
        "EE": "Europe/Tallinn",
        "ES": "Europe/Madrid",
        "FI": "Europe/Helsinki",
        "FR": "Europe/Paris",
        "GB": "Europe/London",
        "GI": "Europe/Gibraltar",
        "GR": "Europe/Athens",
        "HR": "Europe/Zagreb",
        "HU": "Europe/Budapest",
        "IE": "Europe/Dublin",
        "IS": "Atlantic/Reykjavik",
        "IT": "Europe/Rome",
        "LI": "Europe/Vaduz",
        "LT": "Europe/Vilnius",
        "LU": "Europe/Luxembourg",
        "LV": "Europe/Riga",
        "MC": "Europe/Monaco",
        "MD": "Europe/Chisinau",
        "ME": "Europe/Podgorica",
        "MK": "Europe/Skopje",
        "MT": "Europe/Malta",
        "NL": "Europe/Amsterdam",
        "NO": "Europe/Oslo",
        "PL": "Europe/Warsaw",
        "PT": "Europe/Lisbon",
        "RO": "Europe/Bucharest",
        "RS": "Europe/Belgrade",
        "SE": "Europe/Stockholm",
        "SI": "Europe/Ljubljana",
        "SK": "Europe/Bratislava",
        "SM": "Europe/San_Marino",
        "VA": "Europe/Vatican",
    }
)


def bank_day(stated: str, *, iban: str) -> date:
    """The local day of a date or time. Raises UnreadableMessageError for anything else.

    A time with an offset is converted to the account's country; one without is local already, as is any time
    of an account outside the countries known here.
    """
    return bank_time(stated, iban=iban).date()


def last_day(stated: str, *, iban: str) -> date:
    """The last day of a period that ends at `stated`: midnight ends the day before."""
    end = bank_time(stated, iban=iban)
    return end.date() - timedelta(days=1) if "T" in stated and end.time() == time() else end.date()


def bank_time(stated: str, *, iban: str) -> datetime:
    """The local time of a date or time, without an offset. Raises UnreadableMessageError."""
    try:
        if "T" not in stated:
            # A date may bear an offset of its own (xs:date), which does not change the day.
            return datetime.combine(date.fromisoformat(stated[:10]), time())
        at = datetime.fromisoformat(stated)
        if at.tzinfo is not None:
            zone = _ZONES.get(iban[:2])
            at = at if zone is None else at.astimezone(ZoneInfo(zone))
        return at.replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise UnreadableMessageError("Dt", f"{stated[:40]!r} is not a date") from None
