"""Headers that a party adds to its messages: which names and values there may be, and how they are stored.

Owns: those rules, the change of a set of headers, its bytes before they are sealed. Must not know who sends.
What frames the request, what proves it and what names its trace is ours: no own header may replace it.
Source: RFC 9110 sections 5.1 and 5.5 (names and values of fields).
"""

import json
import re
from collections.abc import Mapping
from typing import Final

MAX_HEADERS: Final = 10
MAX_NAME: Final = 64
MAX_VALUE: Final = 1024
MASK: Final = "***"
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_FORBIDDEN: Final = frozenset(
    {
        "accept-encoding",
        "baggage",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "networkcore-version",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "traceparent",
        "tracestate",
        "upgrade",
        "via",
    }
)
_FORBIDDEN_PREFIXES: Final = ("webhook-", "proxy-", "sec-", "x-forwarded-")
_LEAST_MASKED: Final = 4  # a shorter value says nothing, and would mask ordinary text


class OwnHeaderError(ValueError):
    """A header that can't be added; `name` is the one."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


def changed_headers(present: Mapping[str, str], change: Mapping[str, str | None]) -> dict[str, str]:
    """The headers after a change: a value sets, None removes, what is not named stays.

    Names are the same in any case; the spelling of the last change stays.

    Raises:
        OwnHeaderError: a name or value can't be sent, is not the party's to set, or there are too many.
    """
    found = {name.lower(): (name, value) for name, value in present.items()}
    seen: set[str] = set()
    for name, value in change.items():
        key = name.lower()
        if key in seen:
            raise OwnHeaderError(name, f"{name} is given twice; names are the same in any case")
        seen.add(key)
        if value is None:
            found.pop(key, None)
            continue
        _check(name, value)
        found[key] = (name, value)
    if len(found) > MAX_HEADERS:
        raise OwnHeaderError("", f"an endpoint has at most {MAX_HEADERS} headers of its own")
    return dict(found[key] for key in sorted(found))


def _check(name: str, value: str) -> None:
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
        raise OwnHeaderError(
            name[:MAX_NAME], f"a header's name is 1 to {MAX_NAME} letters, digits and hyphens"
        )
    if name.lower() in _FORBIDDEN or name.lower().startswith(_FORBIDDEN_PREFIXES):
        raise OwnHeaderError(name, f"{name} is set by the sender")
    if len(value) > MAX_VALUE or _VALUE.fullmatch(value) is None:
        raise OwnHeaderError(
            name,
            f"the value of {name} is 1 to {MAX_VALUE} printable ASCII characters without space at its ends",
        )


def headers_bytes(headers: Mapping[str, str]) -> bytes:
    """The bytes that are sealed."""
    return json.dumps(headers).encode()


def read_headers(content: bytes) -> dict[str, str]:
    """The headers of these bytes."""
    found: dict[str, str] = json.loads(content)
    return found


def mask_values(text: str, headers: Mapping[str, str]) -> str:
    """A text in which no value of a header stands: some receivers answer with what they were sent."""
    for value in sorted(headers.values(), key=len, reverse=True):
        for part in (value, *value.split(" ")):
            if len(part) >= _LEAST_MASKED:
                text = text.replace(part, MASK)
    return text
