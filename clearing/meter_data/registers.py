"""Registers of a meter: which of a record's readings may be billed.

Owns: OBIS codes in their spellings, units, the order of preference. Must not know: transactions, records.
Source: IEC 62056-6-1; OCMF specification 1.4.1, "Extension to Billing Relevant OBIS Representation".
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from clearing.pricing.exact import EXACT

# Group C of imported energy that may be billed, best first: at the vehicle before at the mains, the
# transaction's own before the total, loss-compensated before raw.
IMPORT_GROUPS: Final = ("B3", "B1", "B2", "B0", "98", "1")
_OBIS: Final = re.compile(
    r"0*(\d{1,3})-0*([0-9A-Za-z]{1,2}):0*([0-9A-Fa-f]{1,2})\.0*(\d{1,3})\.0*([0-9A-Za-z]{1,3})(?:[.*][0-9A-Fa-f]{1,3})?",
    re.ASCII,
)
_SHORT: Final = 40  # characters; a longer name, which no meter has, is not kept in memory
_ACTIVE_ENERGY: Final = "8"
_ELECTRICITY: Final = "1"
_KWH: Final[Mapping[str, int]] = MappingProxyType({"kwh": 0, "wh": -3})  # powers of ten


def import_group(register: str | None) -> str | None:
    """Group C of a register of imported active energy, None for every other register."""
    found = None if register is None else _parts_of(register)
    if found is None or found[0] != _ELECTRICITY or found[3] != _ACTIVE_ENERGY:
        return None
    return found[2] if found[2] in IMPORT_GROUPS else None


def register_key(register: str) -> str:
    """One spelling of a register, so that two readings of it can be compared."""
    found = _parts_of(register)
    return register.strip() if found is None else ".".join(found)


def _parts_of(register: str) -> tuple[str, ...] | None:
    """The groups of an OBIS code in capitals, None where a register has none."""
    return _short_parts_of(register) if len(register) <= _SHORT else _obis(register)


def _obis(register: str) -> tuple[str, ...] | None:
    found = _OBIS.fullmatch(register.strip())
    return None if found is None else tuple(part.upper() for part in found.groups())


_short_parts_of: Final = lru_cache(maxsize=1_024)(_obis)  # meters name the same few registers


def in_kwh(value: Decimal, unit: str | None) -> Decimal | None:
    """A reading in kWh, exactly; None for a unit that is not one of energy."""
    power = _KWH.get((unit or "").strip().lower())
    return None if power is None else value.scaleb(power, EXACT)


def last_digit_kwh(value: Decimal, unit: str | None) -> Decimal:
    """One unit of the last digit that the meter shows, in kWh: 0.001 for 57.584 kWh and for 1833 Wh."""
    exponent = int(value.as_tuple().exponent)
    return Decimal(1).scaleb(exponent + _KWH.get((unit or "").strip().lower(), 0), EXACT)
