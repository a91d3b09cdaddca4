"""Which TokenType each version of OCPI knows a token by.

Owns: the type on the wire of a stored one, which stored types a type on the wire may mean, and the uid under
which an eMAID is stored. Must not know: tokens, SQL, HTTP. Pure. Source: OCPI mod_tokens, TokenType: 2.1.1
has RFID and OTHER, 2.2.1 adds APP_USER and AD_HOC_USER, 2.3.0 adds EMAID; what a version has no name for is
OTHER there.
"""

from collections.abc import Sequence
from typing import Final

from clearing.pricing.ocpi_version import OcpiVersion
from pnc.emaid import parse_emaid
from pnc.errors import MalformedEmaidError

EMAID: Final = "EMAID"
OTHER: Final = "OTHER"
_UNNAMED: Final = {
    OcpiVersion.V2_1_1: ("APP_USER", "AD_HOC_USER", EMAID),
    OcpiVersion.V2_2_1: (EMAID,),
    OcpiVersion.V2_3_0: (),
}


def type_on_wire(stored: str, *, version: OcpiVersion) -> str:
    """The TokenType by which `version` names a token that is stored with the type `stored`."""
    return OTHER if stored in _UNNAMED[version] else stored


def stored_types(named: str, *, version: OcpiVersion) -> Sequence[str]:
    """The stored types that `named` may mean in `version`, the likeliest first.

    A peer that names a type of a later version means that type.
    """
    return (OTHER, *_UNNAMED[version]) if named == OTHER else (named,)


def stored_uid(uid: str, *, stored_type: str) -> str:
    """The uid under which a token is stored: an eMAID without separators and check digit."""
    if stored_type != EMAID:
        return uid
    try:
        return parse_emaid(uid).body
    except MalformedEmaidError:
        return uid
