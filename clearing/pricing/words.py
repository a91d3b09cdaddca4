"""The words of prices and receipts in English, German, French and Italian.

Owns: texts and number formats by language. Must not know: how a price is computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One language. Texts in braces are filled in; `point` is its decimal separator."""

    point: str
    energy: str
    charging: str
    parking: str
    reservation: str
    expired: str
    overtime: str
    flat: str
    flat_reservation: str
    flat_expired: str
    per_kwh: str
    per_minute: str
    per_session: str
    per_reservation: str
    per_expired: str
    while_charging: str
    while_parking: str
    while_reserved: str
    while_expired: str
    while_overtime: str
    minimum: str
    maximum: str
    floor: str
    tax: str
    tax_extra: str
    total: str
    total_net: str
    free: str
    blocks: str
    billed: str
    between: str
    on: str
    dates_from: str
    dates_until: str
    energy_from: str
    energy_until: str
    power_from: str
    power_until: str
    current_from: str
    current_until: str
    time_from: str
    time_until: str
    day_names: tuple[str, str, str, str, str, str, str]


_ENGLISH: Final = Words(
    point=".",
    energy="Energy",
    charging="Charging time",
    parking="Parking after charging",
    reservation="Reservation",
    expired="Expired reservation",
    overtime="Time beyond the booking",
    flat="Session fee",
    flat_reservation="Reservation fee",
    flat_expired="Fee for an unused reservation",
    per_kwh="{price} per kWh",
    per_minute="{price} per minute {when}",
    per_session="{price} per session",
    per_reservation="{price} per reservation",
    per_expired="{price} per unused reservation",
    while_charging="while charging",
    while_parking="while parked after charging",
    while_reserved="of reservation",
    while_expired="of unused reservation",
    while_overtime="beyond the booked time",
    minimum="Minimum price",
    maximum="Maximum price",
    floor="Nothing to pay",
    tax="incl. {percent} % VAT",
    tax_extra="plus tax",
    total="Total",
    total_net="Total before tax",
    free="free of charge",
    blocks="in steps of {step}",
    billed="{volume}, billed {billed}",
    between="from {start} to {end}",
    on="on {days}",
    dates_from="from {date}",
    dates_until="until {date}",
    energy_from="from {value} kWh on",
    energy_until="up to {value} kWh",
    power_from="from {value} kW",
    power_until="below {value} kW",
    current_from="from {value} A",
    current_until="below {value} A",
    time_from="after {value} min",
    time_until="in the first {value} min",
    day_names=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
)
_GERMAN: Final = Words(
    point=",",
    energy="Energie",
    charging="Ladezeit",
    parking="Standzeit nach dem Laden",
    reservation="Reservierung",
    expired="Verfallene Reservierung",
    overtime="Zeit über die Buchung hinaus",
    flat="Startgebühr",
    flat_reservation="Reservierungsgebühr",
    flat_expired="Gebühr für ungenutzte Reservierung",
    per_kwh="{price} pro kWh",
    per_minute="{price} pro Minute {when}",
    per_session="{price} pro Ladevorgang",
    per_reservation="{price} pro Reservierung",
    per_expired="{price} pro ungenutzter Reservierung",
    while_charging="während des Ladens",
    while_parking="Standzeit nach dem Laden",
    while_reserved="Reservierung",
    while_expired="ungenutzter Reservierung",
    while_overtime="über die gebuchte Zeit hinaus",
    minimum="Mindestpreis",
    maximum="Höchstpreis",
    floor="Nichts zu zahlen",
    tax="inkl. {percent} % MwSt.",
    tax_extra="zzgl. Steuer",
    total="Gesamt",
    total_net="Gesamt vor Steuer",
    free="kostenlos",
    blocks="in Schritten von {step}",
    billed="{volume}, berechnet {billed}",
    between="von {start} bis {end}",
    on="{days}",
    dates_from="ab {date}",
    dates_until="bis {date}",
    energy_from="ab {value} kWh",
    energy_until="bis {value} kWh",
    power_from="ab {value} kW",
    power_until="unter {value} kW",
    current_from="ab {value} A",
    current_until="unter {value} A",
    time_from="nach {value} Min.",
    time_until="in den ersten {value} Min.",
    day_names=("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"),
)
_FRENCH: Final = Words(
    point=",",
    energy="Énergie",
    charging="Temps de charge",
    parking="Stationnement après la charge",
    reservation="Réservation",
    expired="Réservation expirée",
    overtime="Temps au-delà de la réservation",
    flat="Frais de session",
    flat_reservation="Frais de réservation",
    flat_expired="Frais de réservation non utilisée",
    per_kwh="{price} par kWh",
    per_minute="{price} par minute {when}",
    per_session="{price} par session",
    per_reservation="{price} par réservation",
    per_expired="{price} par réservation non utilisée",
    while_charging="pendant la charge",
    while_parking="de stationnement après la charge",
    while_reserved="de réservation",
    while_expired="de réservation non utilisée",
    while_overtime="au-delà du temps réservé",
    minimum="Prix minimum",
    maximum="Prix maximum",
    floor="Rien à payer",
    tax="TVA {percent} % comprise",
    tax_extra="hors taxes",
    total="Total",
    total_net="Total hors taxes",
    free="gratuit",
    blocks="par tranches de {step}",
    billed="{volume}, facturé {billed}",
    between="de {start} à {end}",
    on="{days}",
    dates_from="à partir du {date}",
    dates_until="jusqu'au {date}",
    energy_from="à partir de {value} kWh",
    energy_until="jusqu'à {value} kWh",
    power_from="à partir de {value} kW",
    power_until="en dessous de {value} kW",
    current_from="à partir de {value} A",
    current_until="en dessous de {value} A",
    time_from="après {value} min",
    time_until="pendant les {value} premières minutes",
    day_names=("lun.", "mar.", "mer.", "jeu.", "ven.", "sam.", "dim."),
)
_ITALIAN: Final = Words(
    point=",",
    energy="Energia",
    charging="Tempo di ricarica",
    parking="Sosta dopo la ricarica",
    reservation="Prenotazione",
    expired="Prenotazione scaduta",
    overtime="Tempo oltre la prenotazione",
    flat="Costo di sessione",
    flat_reservation="Costo di prenotazione",
    flat_expired="Costo per prenotazione non utilizzata",
    per_kwh="{price} per kWh",
    per_minute="{price} al minuto {when}",
    per_session="{price} per sessione",
    per_reservation="{price} per prenotazione",
    per_expired="{price} per prenotazione non utilizzata",
    while_charging="durante la ricarica",
    while_parking="di sosta dopo la ricarica",
    while_reserved="di prenotazione",
    while_expired="di prenotazione non utilizzata",
    while_overtime="oltre il tempo prenotato",
    minimum="Prezzo minimo",
    maximum="Prezzo massimo",
    floor="Nulla da pagare",
    tax="IVA {percent} % inclusa",
    tax_extra="tasse escluse",
    total="Totale",
    total_net="Totale tasse escluse",
    free="gratuito",
    blocks="a scatti di {step}",
    billed="{volume}, fatturati {billed}",
    between="dalle {start} alle {end}",
    on="{days}",
    dates_from="dal {date}",
    dates_until="fino al {date}",
    energy_from="da {value} kWh",
    energy_until="fino a {value} kWh",
    power_from="da {value} kW",
    power_until="sotto {value} kW",
    current_from="da {value} A",
    current_until="sotto {value} A",
    time_from="dopo {value} min",
    time_until="nei primi {value} min",
    day_names=("lun", "mar", "mer", "gio", "ven", "sab", "dom"),
)

LANGUAGES: Final[Mapping[str, Words]] = MappingProxyType(
    {"en": _ENGLISH, "de": _GERMAN, "fr": _FRENCH, "it": _ITALIAN}
)


_POINT_REGIONS: Final = frozenset({"ch", "li"})


def words_for(locale: str) -> Words:
    """The words of a locale such as de, de-CH or fr_FR; English for a language that is not here.

    Switzerland and Liechtenstein write amounts with a decimal point in every language.
    """
    language, _, region = locale.replace("_", "-").lower().partition("-")
    words = LANGUAGES.get(language, _ENGLISH)
    return replace(words, point=".") if region in _POINT_REGIONS else words


def number_text(value: Decimal, words: Words, *, least_digits: int = 0) -> str:
    """A number in the language's form, idle zeros left out down to `least_digits` decimals."""
    text = format(value, "f")
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0").ljust(least_digits, "0")
    return f"{whole}{words.point}{decimals}" if decimals else whole
