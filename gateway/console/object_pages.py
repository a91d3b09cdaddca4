"""The page of an object: where the id that a person reads leads to.

Owns: which kinds of ids have a page, and what in a text is an id. Must not know what a page shows, or whether
the object is there.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

OBJECTS: Final = "/console/objects/"
# By the prefix of the id (gateway.ids): the address before the id. What has no page of its own is found on
# its session's, by an address that asks for the object.
_PAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ses": "/console/sessions/",
        "dsp": "/console/disputes/",
        "dis": "/console/payouts/",
        "evt": "/console/events/",
        "exc": "/console/exceptions/",
        "rdf": "/console/reconciliation/",
        "whe": "/console/webhooks/",
        "dec": "/console/plug-and-charge/decisions/",
        "rql": "/console/requests/",
        "ocp": "/console/operators/connections/",
        "auth": OBJECTS,
        "cap": OBJECTS,
        "ref": OBJECTS,
    }
)
_PLATFORM_ONLY: Final = frozenset({"exc", "rdf"})
_ID: Final = re.compile(r"\b([a-z]{2,8}_[0-9a-hjkmnp-tv-z]{26})\b")  # of gateway.ids: Crockford's base32


def object_page(name: str, *, platform: bool) -> str | None:
    """The address of the page of an object; None where its kind has none that the person may open."""
    kind, separator, _ = name.partition("_")
    before = _PAGES.get(kind) if separator else None
    if before is None or (kind in _PLATFORM_ONLY and not platform):
        return None
    return before + name


def split_at_ids(text: str) -> Sequence[str]:
    """A text in pieces: what stands before the first id, the id, what stands after it, and so on."""
    return _ID.split(text)
