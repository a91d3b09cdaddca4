"""The page of an object: where the id that a person reads leads to.

Owns: which kinds of ids have a page. Must not know what a page shows, or whether the object is there.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# By the prefix of the id (gateway.ids): the address before the id.
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
    }
)
_PLATFORM_ONLY: Final = frozenset({"exc", "rdf"})


def object_page(name: str, *, platform: bool) -> str | None:
    """The address of the page of an object; None where its kind has none that the person may open."""
    kind, separator, _ = name.partition("_")
    before = _PAGES.get(kind) if separator else None
    if before is None or (kind in _PLATFORM_ONLY and not platform):
        return None
    return before + name
