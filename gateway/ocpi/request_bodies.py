"""Reading what peers send: exact numbers, bounds on everything, rejections that name the JSON path.

Owns: from bytes to a checked tree, and single fields out of it. Must not know: which module uses them.
Sources: OCPI types (CiString, DateTime, URL); status_codes (invalid JSON is HTTP 400, invalid content 2001).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from clearing.errors import MalformedDocumentError
from clearing.pricing import json_document as document
from clearing.pricing.ocpi_version import FIRST_YEAR, LAST_YEAR, OcpiVersion, as_utc
from gateway.card_numbers import find_card_number
from gateway.ocpi.errors import OcpiRejectionError

Tree = Mapping[str, Any]
_any_json: Final = msgspec.json.Decoder(float_hook=str)  # syntax only: no number is too large for it
_any_text: Final = msgspec.json.Decoder(float_hook=lambda _: None)  # texts and whole numbers
_BAD_REQUEST: Final = 400
_SHOWN: Final = 60
_CISTRING: Final = re.compile(r"[\x20-\x7e]+")
_DATE_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,12}))?(Z|z|[+-]\d{2}:\d{2})?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A JSON object as sent: `tree` with every number a Decimal, `canonical` its canonical JSON."""

    tree: Tree
    canonical: bytes


def read_object(raw: bytes, *, name: str) -> Body:
    """Read a JSON object.

    Every string in it is printable and bounded (OCPI types, string and CiString).

    Raises Refusal: HTTP 400 when it is not JSON, 2001 when it is but not as expected.
    """
    try:
        tree = document.load(raw, document=name)
        document.check_text(tree, document=name)
        return Body(tree=tree, canonical=document.canonical(tree, document=name))
    except MalformedDocumentError as error:
        raise OcpiRejectionError(str(error), http_status=200 if _is_json(raw) else _BAD_REQUEST) from None
    except (RecursionError, UnicodeEncodeError):
        raise OcpiRejectionError(
            f"{name} is nested too deeply or holds broken text", http_status=_BAD_REQUEST
        ) from None


def _is_json(raw: bytes) -> bool:
    try:
        _any_json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


def encode(tree: Any, *, name: str) -> bytes:
    """Canonical JSON of a tree made of what `read_object` gave. Raises Refusal when it is out of bounds."""
    try:
        return document.canonical(tree, document=name)
    except MalformedDocumentError as error:
        raise OcpiRejectionError(str(error)) from None


def reject_card_numbers(content: Any) -> None:
    """Raise Refusal where any text of a decoded message holds a card number; the message is not kept then."""
    place = find_card_number(content)
    if place is not None:
        raise OcpiRejectionError(
            f"{place or 'the message'}: holds a card number; nothing was stored", kept=False
        )


def plain_values(raw: bytes) -> Any:
    """A body's texts and whole numbers, whatever they are; None where it is not JSON."""
    try:
        return _any_text.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def text(tree: Tree, name: str, *, at: str = "$", limit: int = 255) -> str:
    """A required string, not empty. Raises Refusal."""
    found = optional_text(tree, name, at=at, limit=limit)
    if found is None:
        raise OcpiRejectionError(f"{at}.{name}: missing; expected a string of 1 to {limit} characters")
    return found


def optional_text(tree: Tree, name: str, *, at: str = "$", limit: int = 255) -> str | None:
    """A string or None when absent, null or empty. Raises Refusal for another type, length or a NUL."""
    found = tree.get(name)
    if found is None or found == "":
        return None
    if not isinstance(found, str) or len(found) > limit or "\x00" in found:
        raise OcpiRejectionError(
            f"{at}.{name}: expected a string of 1 to {limit} characters, got {shown(found)}"
        )
    return found


def identifier(tree: Tree, name: str, *, at: str = "$", limit: int = 36) -> str:
    """A required CiString: printable ASCII. Raises Refusal."""
    return check_identifier(text(tree, name, at=at, limit=limit), at=f"{at}.{name}", limit=limit)


def check_identifier(value: str, *, at: str, limit: int = 36) -> str:
    """`value` when it is a CiString of 1 to `limit` characters. Raises Refusal naming `at`."""
    if not 0 < len(value) <= limit or _CISTRING.fullmatch(value) is None:
        raise OcpiRejectionError(
            f"{at}: expected 1 to {limit} printable ASCII characters, got {shown(value)}"
        )
    return value


def moment(tree: Tree, name: str, *, at: str = "$") -> datetime:
    """A required OCPI DateTime as aware UTC. Raises Refusal."""
    found = optional_moment(tree, name, at=at)
    if found is None:
        raise OcpiRejectionError(f"{at}.{name}: missing; expected a UTC time such as 2026-10-29T08:00:00Z")
    return found


def optional_moment(tree: Tree, name: str, *, at: str = "$") -> datetime | None:
    """An OCPI DateTime as aware UTC, or None when absent. Raises Refusal."""
    found = optional_text(tree, name, at=at, limit=64)
    return None if found is None else read_moment(found, at=f"{at}.{name}")


def last_updated(tree: Tree, *, version: OcpiVersion, now: datetime) -> datetime:
    """An object's last_updated, at most `now`: a time in the future would keep every later push out.

    Before 2.2 a push need not carry one, then it is now. Raises OcpiRejectionError.
    """
    if version is OcpiVersion.V2_1_1:
        return min(optional_moment(tree, "last_updated") or now, now)
    return min(moment(tree, "last_updated"), now)


def read_moment(value: str, *, at: str) -> datetime:
    """An RFC 3339 time; none stated means UTC, digits beyond microseconds are cut.

    Raises Refusal naming `at`.
    """
    found = _DATE_TIME.fullmatch(value)
    day, clock, fraction, zone = found.groups() if found else ("", "", None, None)
    micros = (fraction or "0")[:6].ljust(6, "0")
    offset = "+00:00" if zone in {None, "Z", "z"} else zone
    try:
        found_at = as_utc(datetime.fromisoformat(f"{day}T{clock}.{micros}{offset}"))
    except (ValueError, OverflowError):
        raise OcpiRejectionError(
            f"{at}: expected a UTC time such as 2026-10-29T08:00:00Z, got {shown(value)}"
        ) from None
    if not FIRST_YEAR <= found_at.year < LAST_YEAR:
        raise OcpiRejectionError(
            f"{at}: expected a time from {FIRST_YEAR} on and before {LAST_YEAR}, got {shown(value)}"
        )
    return found_at


def number(tree: Tree, name: str, *, at: str = "$") -> Decimal:
    """A required JSON number. Raises Refusal."""
    found = tree.get(name)
    if not isinstance(found, Decimal):
        raise OcpiRejectionError(f"{at}.{name}: expected a number, got {shown(found)}")
    return found


def integer(tree: Tree, name: str, *, at: str = "$", highest: int = 2**53) -> int | None:
    """A whole number from 0 to `highest`, or None when absent. Raises Refusal."""
    found = tree.get(name)
    if found is None:
        return None
    if not isinstance(found, Decimal) or found != found.to_integral_value() or not 0 <= found <= highest:
        raise OcpiRejectionError(
            f"{at}.{name}: expected a whole number from 0 to {highest}, got {shown(found)}"
        )
    return int(found)


def flag(tree: Tree, name: str, *, at: str = "$") -> bool:
    """A boolean; absent or null means false. Raises Refusal."""
    found = tree.get(name)
    if found is None:
        return False
    if not isinstance(found, bool):
        raise OcpiRejectionError(f"{at}.{name}: expected true or false, got {shown(found)}")
    return found


def objects(tree: Tree, name: str, *, at: str = "$", required: bool = False) -> Sequence[Tree]:
    """A list of objects; absent or null means none unless `required`. Raises Refusal."""
    found = tree.get(name)
    if found is None and not required:
        return ()
    if not isinstance(found, list) or (required and not found):
        few = "at least one object" if required else "objects"
        raise OcpiRejectionError(f"{at}.{name}: expected a list of {few}, got {shown(found)}")
    for position, member in enumerate(found):
        if not isinstance(member, dict):
            raise OcpiRejectionError(f"{at}.{name}[{position}]: expected an object, got {shown(member)}")
    return found


def same_identifier(tree: Tree, name: str, expected: str) -> None:
    """Refuse an object whose id differs from the URL's (OCPI transport, Client Owned Object Push: 2001)."""
    found = identifier(tree, name, limit=max(len(expected), 36))
    if found.lower() != expected.lower():
        raise OcpiRejectionError(f"$.{name}: is {shown(found)}, the URL says {shown(expected)}")


def shown(value: Any) -> str:
    """A value as an error may show it: short, one line."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    words = "nothing" if value is None else repr(str(value) if isinstance(value, Decimal) else value)
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."
