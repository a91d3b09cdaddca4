"""What an API key or a person's role may do: scopes by area, each to read or to write.

Owns: the names of scopes, which of them only the platform's own keys may have, and what a key may do with
what it was granted. Must not know which operation needs which
scope (`gateway.api.operation_scopes`), or how a key is checked.

A scope says what may be done, never whose objects it is done to: a key of a party reaches that party's
objects alone, a key of the platform those of all parties.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from clearing.parties.party import PLATFORM_ID


class Scope(StrEnum):
    """What an API key may do: an area, and whether it reads or writes there."""

    CAPTURE_READ = "capture:read"
    CAPTURE_WRITE = "capture:write"
    PLUG_AND_CHARGE_READ = "plug_and_charge:read"
    PLUG_AND_CHARGE_WRITE = "plug_and_charge:write"
    CONTRACTS_READ = "contracts:read"
    CONTRACTS_WRITE = "contracts:write"
    SETTLEMENT_READ = "settlement:read"
    SETTLEMENT_WRITE = "settlement:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    EVENTS_READ = "events:read"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    PARTIES_READ = "parties:read"
    PARTIES_WRITE = "parties:write"
    TRUST_READ = "trust:read"
    TRUST_WRITE = "trust:write"
    SUPPORT_READ = "support:read"
    SUPPORT_WRITE = "support:write"
    FINANCE_READ = "finance:read"
    FINANCE_WRITE = "finance:write"
    ACTS_READ = "acts:read"
    CLOCK_READ = "clock:read"
    CLOCK_WRITE = "clock:write"
    METRICS_READ = "metrics:read"
    STATUS_READ = "status:read"


class ScopeSet(StrEnum):
    """The names of the first release, whose keys go on working.

    The table gateway.scope_set says which scopes each stands for.
    """

    CAPTURE = "capture"
    PLUG_AND_CHARGE = "plug_and_charge"
    CONTRACTS = "contracts"
    WEBHOOKS = "webhooks"
    ADMIN = "admin"


ALL_SCOPES: Final = frozenset(Scope)

# Only the platform's own keys hold these, whatever a row says.
PLATFORM_SCOPES: Final = frozenset(
    {
        Scope.PARTIES_WRITE,
        Scope.TRUST_READ,
        Scope.TRUST_WRITE,
        Scope.SUPPORT_READ,
        Scope.SUPPORT_WRITE,
        Scope.FINANCE_READ,
        Scope.FINANCE_WRITE,
        Scope.ACTS_READ,
        Scope.CLOCK_READ,
        Scope.CLOCK_WRITE,
        Scope.METRICS_READ,
        Scope.STATUS_READ,
    }
)
PARTY_SCOPES: Final = ALL_SCOPES - PLATFORM_SCOPES

# Every key of a party reads that party itself and what happened to it.
_OF_EVERY_PARTY: Final = frozenset({Scope.PARTIES_READ, Scope.EVENTS_READ})


def named(scopes: Iterable[Scope]) -> str:
    """The scopes as a sentence names them: `a` or `b`."""
    return " or ".join(f"`{scope.value}`" for scope in sorted(scopes))


def held_by(party_id: str, granted: Iterable[str]) -> frozenset[Scope]:
    """What a key of a party may do that was granted these scopes; an unknown name grants nothing.

    What is the platform's, only the platform's keys may do, whatever is stored.
    """
    scopes = _known(granted)
    return scopes if party_id == PLATFORM_ID else (scopes & PARTY_SCOPES) | _OF_EVERY_PARTY


def not_grantable(granted: Iterable[str], *, party_id: str, maker: frozenset[Scope]) -> frozenset[Scope]:
    """The scopes that a maker can't give a key of the party: he lacks them, or it may not have them."""
    return _known(granted) - (maker if party_id == PLATFORM_ID else maker & PARTY_SCOPES)


def _known(names: Iterable[str]) -> frozenset[Scope]:
    wanted = frozenset(names)
    return frozenset(scope for scope in Scope if scope.value in wanted)
