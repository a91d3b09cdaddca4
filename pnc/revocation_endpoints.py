"""Where the revocation status of certificates may be requested: the allow-list, and its names.

Owns the names of authorities and origins. Must not know who requests, how, or where the list is stored.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pnc.certificate import Certificate

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationEndpoints:
    """The origins that may be requested, by authority (see `authority_id`) and kind (`ocsp`, `crl`)."""

    allowed: frozenset[tuple[bytes, str, str]]

    def allows(self, *, authorities: Sequence[bytes], kind: str, origin: str) -> bool:
        """Whether the origin is on the list of any of the authorities."""
        return any((authority, kind, origin) in self.allowed for authority in authorities)

    def lists(self, *, kind: str, origin: str) -> bool:
        """Whether the origin is on the list of any authority at all."""
        return any((kind, origin) == entry[1:] for entry in self.allowed)


def authority_id(authority: Certificate) -> bytes:
    """Name an authority by its name and key: the same whichever certificate vouches for it."""
    return hashlib.sha256(authority.subject + authority.key_info).digest()


def origin_of(url: str) -> str | None:
    """Return `scheme://host[:port]` of an address in lower case, or None when it may never be requested.

    Only http and https, with a host, without user information; a scheme's own port is left out.
    """
    if not url.isascii() or any(character.isspace() or character == "\\" for character in url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = "" if port is None or port == _PORTS[parts.scheme] else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"
