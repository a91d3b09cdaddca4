"""Which time zone a session's local time is in.

Owns: the choice and the note that goes with it. Must not know: tariffs, prices.
"""

from typing import Final
from zoneinfo import ZoneInfo

from clearing.pricing.cdr import Cdr
from clearing.pricing.notes import Note, NoteCode, NoteSeverity
from clearing.pricing.timeline import note, resolve_zone

# Countries whose public chargers all keep one civil time, by the alpha-3 and alpha-2 codes OCPI uses.
# Left out on purpose: Spain (Canaries), Portugal (Azores), and every country that spans several zones.
_ONE_ZONE: Final = {
    ("ALB", "AL"): "Europe/Tirane",
    ("AND", "AD"): "Europe/Andorra",
    ("AUT", "AT"): "Europe/Vienna",
    ("BEL", "BE"): "Europe/Brussels",
    ("BGR", "BG"): "Europe/Sofia",
    ("BIH", "BA"): "Europe/Sarajevo",
    ("CHE", "CH"): "Europe/Zurich",
    ("CYP", "CY"): "Asia/Nicosia",
    ("CZE", "CZ"): "Europe/Prague",
    ("DEU", "DE"): "Europe/Berlin",
    ("DNK", "DK"): "Europe/Copenhagen",
    ("EST", "EE"): "Europe/Tallinn",
    ("FIN", "FI"): "Europe/Helsinki",
    ("FRA", "FR"): "Europe/Paris",
    ("GBR", "GB"): "Europe/London",
    ("GRC", "GR"): "Europe/Athens",
    ("HRV", "HR"): "Europe/Zagreb",
    ("HUN", "HU"): "Europe/Budapest",
    ("IRL", "IE"): "Europe/Dublin",
    ("ISL", "IS"): "Atlantic/Reykjavik",
    ("ITA", "IT"): "Europe/Rome",
    ("LIE", "LI"): "Europe/Vaduz",
    ("LTU", "LT"): "Europe/Vilnius",
    ("LUX", "LU"): "Europe/Luxembourg",
    ("LVA", "LV"): "Europe/Riga",
    ("MKD", "MK"): "Europe/Skopje",
    ("MLT", "MT"): "Europe/Malta",
    ("MNE", "ME"): "Europe/Podgorica",
    ("NLD", "NL"): "Europe/Amsterdam",
    ("NOR", "NO"): "Europe/Oslo",
    ("POL", "PL"): "Europe/Warsaw",
    ("ROU", "RO"): "Europe/Bucharest",
    ("SRB", "RS"): "Europe/Belgrade",
    ("SVK", "SK"): "Europe/Bratislava",
    ("SVN", "SI"): "Europe/Ljubljana",
    ("SWE", "SE"): "Europe/Stockholm",
    ("TUR", "TR"): "Europe/Istanbul",
}
_BY_COUNTRY: Final = {code: zone for codes, zone in _ONE_ZONE.items() for code in codes}


def choose_zone(name: str | None, cdr: Cdr, *, needed: bool, notes: list[Note]) -> ZoneInfo | None:
    """The zone given, else the CDR's own, else its country's only one, else UTC; None where none is needed.

    What was not given is noted. A zone that is given must exist, needed or not. Raises UnknownTimeZoneError.
    """
    given = name or cdr.time_zone
    if given is not None:
        zone = resolve_zone(given)
        return zone if needed else None
    if not needed:
        return None
    country = (cdr.country or "").upper()
    assumed = _BY_COUNTRY.get(country, "UTC")
    grave = NoteSeverity.INFO if country in _BY_COUNTRY else NoteSeverity.DISPUTE
    source = f"that of {country}" if country in _BY_COUNTRY else "none is known for this location"
    text = f"the tariff depends on local time and no time zone was given; {assumed} is used: {source}"
    note(notes, NoteCode.TIME_ZONE_ASSUMED, "$.cdr_location", text, grave)
    return resolve_zone(assumed)
