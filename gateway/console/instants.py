"""Instants as a form gives them: a day and a time of day in a zone.

Owns: which texts are such an instant. Must not know any form.
"""

from datetime import UTC, datetime, tzinfo

from gateway.errors import GatewayError


class InstantNotReadError(GatewayError):
    """A text that is no time of the zone."""


def read_instant(text: str, zone: tzinfo) -> datetime:
    """The instant of a local time such as 2026-10-01T12:00; of a time that there is twice, the first one.

    Raises:
        InstantNotReadError: it is no time, names a zone itself, or clocks skip it.
    """
    try:
        local = datetime.fromisoformat(text)
        if local.tzinfo is not None or "T" not in text:
            raise InstantNotReadError(text)
        instant = local.replace(tzinfo=zone).astimezone(UTC)
        there = instant.astimezone(zone).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise InstantNotReadError(text) from None
    if there != local:
        raise InstantNotReadError(text)
    return instant
