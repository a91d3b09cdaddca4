"""The headers that tell a browser what it must not do with an answer.

Owns: which headers every answer carries. A page that needs more sets its own, and they stand.
Source: OWASP Secure Headers Project; RFC 6797 (HSTS); RFC 9111 section 5.2.2.5 (no-store).
"""

from collections.abc import Mapping
from typing import Final

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # Answers hold payments, keys and client secrets; what may be stored says so itself.
    "Cache-Control": "no-store",
}
_HSTS: Final = {"Strict-Transport-Security": "max-age=31536000"}


def security_headers(*, tls: bool) -> Mapping[str, str]:
    """Return the headers of every answer; with `tls` the listener speaks TLS itself and says so (HSTS)."""
    return {**_ALWAYS, **(_HSTS if tls else {})}
