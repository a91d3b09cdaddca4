"""A billing record without the person in it: the token and the signed meter data of a CDR, blotted.

Owns: which members those are, in each version of OCPI. Must not know: when a record is blotted, or where it
is kept. Amounts, times, energy and prices keep every digit. Sources: OCPI 2.1.1 10.3.1 (auth_id), 2.2.1
10.3.1 and 10.4 (cdr_token, signed_data), 2.3.0 likewise.
"""

from decimal import Decimal
from typing import Any, Final

import msgspec

BLOTTED: Final = "BLOTTED"
_MEMBERS: Final = frozenset({"auth_id", "uid", "contract_id", "visual_number", "group_id"})
_TOKENS: Final = frozenset({"cdr_token", "token"})
_NAMES: Final = frozenset({"session_id", "authorization_reference", "remark"})
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def blot_cdr(raw: bytes) -> bytes:
    """The CDR with its token's ids replaced, without its signed meter data; blotted twice, it is the same.

    What is no JSON object is replaced whole: nothing says what of it is a person's.
    """
    try:
        document = _decoder.decode(raw)
    except msgspec.DecodeError:
        document = None
    if not isinstance(document, dict):
        return _encoder.encode({"blotted": True})
    return _encoder.encode(_blotted(document))


def _blotted(document: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in document.items():
        if name == "signed_data":
            continue
        if name in _TOKENS and isinstance(value, dict):
            kept[name] = {
                member: BLOTTED if member in _MEMBERS and part is not None else part
                for member, part in value.items()
            }
        elif name in _NAMES | {"auth_id"} and value is not None:
            kept[name] = BLOTTED
        else:
            kept[name] = value
    return kept
