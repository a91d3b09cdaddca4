"""What a person may do: the role that an administrator gave, as a table.

Owns: the roles, the API scopes of each, and the areas in which each acts. Must not know HTTP, pages or where
people are stored. A role reads what its scopes read; it acts only in its areas, so that a viewer changes
nothing, whatever a scope would allow an API key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from gateway.scopes import ALL_SCOPES, PARTY_SCOPES, Scope


class PersonRole(StrEnum):
    """What a person is at their party."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    SUPPORT = "support"
    FINANCE = "finance"
    ADMINISTRATOR = "administrator"


class ActArea(StrEnum):
    """A kind of act. An act belongs to one of them."""

    PAYMENTS = "payments"  # refund, clear again
    EXCEPTIONS = "exceptions"  # assign, resolve
    APPROVALS = "approvals"  # the second person of a four-eyes decision
    PAYOUTS = "payouts"  # payout holds
    WEBHOOKS = "webhooks"  # endpoints and their deliveries
    KEYS = "keys"  # API keys of the party
    METERS = "meters"  # keys of a CPO's meters
    CONTRACTS = "contracts"  # contracts of Plug & Charge and their certificates
    TRUST = "trust"  # roots, their policies and the status of certificates
    PEOPLE = "people"  # who may sign in


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRights:
    """The scopes with which a role reads, and the areas in which it acts."""

    scopes: frozenset[Scope]
    areas: frozenset[ActArea]


# Every role reads; what is read of another party is no party's.
_READS: Final = frozenset(scope for scope in Scope if scope.value.endswith(":read"))
_PARTY_READS: Final = (_READS & PARTY_SCOPES) - {Scope.WEBHOOKS_READ, Scope.KEYS_READ}
_DEVELOPER: Final = frozenset({Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE, Scope.KEYS_READ})
_SUPPORT: Final = frozenset({Scope.CAPTURE_WRITE, Scope.CONTRACTS_WRITE})
_FINANCE: Final = frozenset({Scope.CAPTURE_WRITE, Scope.SETTLEMENT_WRITE})
_AREAS: Final[Mapping[PersonRole, frozenset[ActArea]]] = MappingProxyType(
    {
        PersonRole.VIEWER: frozenset(),
        PersonRole.DEVELOPER: frozenset({ActArea.WEBHOOKS}),
        PersonRole.SUPPORT: frozenset({ActArea.PAYMENTS, ActArea.EXCEPTIONS, ActArea.CONTRACTS}),
        PersonRole.FINANCE: frozenset(
            {ActArea.PAYMENTS, ActArea.EXCEPTIONS, ActArea.APPROVALS, ActArea.PAYOUTS, ActArea.METERS}
        ),
        PersonRole.ADMINISTRATOR: frozenset(ActArea),
    }
)
# A party's people: the scopes of an API key of that party, by role.
PARTY_RIGHTS: Final[Mapping[PersonRole, RoleRights]] = MappingProxyType(
    {
        PersonRole.VIEWER: RoleRights(scopes=_PARTY_READS, areas=_AREAS[PersonRole.VIEWER]),
        PersonRole.DEVELOPER: RoleRights(
            scopes=_PARTY_READS | _DEVELOPER, areas=_AREAS[PersonRole.DEVELOPER]
        ),
        PersonRole.SUPPORT: RoleRights(
            scopes=_PARTY_READS | _SUPPORT, areas=frozenset({ActArea.PAYMENTS, ActArea.CONTRACTS})
        ),
        PersonRole.FINANCE: RoleRights(
            scopes=_PARTY_READS | _FINANCE,
            areas=frozenset({ActArea.PAYMENTS, ActArea.METERS}),
        ),
        PersonRole.ADMINISTRATOR: RoleRights(
            scopes=PARTY_SCOPES,
            areas=frozenset(
                {
                    ActArea.PAYMENTS,
                    ActArea.WEBHOOKS,
                    ActArea.KEYS,
                    ActArea.METERS,
                    ActArea.CONTRACTS,
                    ActArea.PEOPLE,
                }
            ),
        ),
    }
)
# The platform's people see every party; what they change is bounded by scopes and areas.
PLATFORM_RIGHTS: Final[Mapping[PersonRole, RoleRights]] = MappingProxyType(
    {
        PersonRole.VIEWER: RoleRights(scopes=_READS, areas=_AREAS[PersonRole.VIEWER]),
        PersonRole.DEVELOPER: RoleRights(scopes=_READS | _DEVELOPER, areas=_AREAS[PersonRole.DEVELOPER]),
        PersonRole.SUPPORT: RoleRights(
            scopes=_READS | _SUPPORT | {Scope.SUPPORT_WRITE}, areas=_AREAS[PersonRole.SUPPORT]
        ),
        PersonRole.FINANCE: RoleRights(
            scopes=_READS | _FINANCE | {Scope.SUPPORT_WRITE, Scope.FINANCE_WRITE},
            areas=_AREAS[PersonRole.FINANCE],
        ),
        PersonRole.ADMINISTRATOR: RoleRights(scopes=ALL_SCOPES, areas=_AREAS[PersonRole.ADMINISTRATOR]),
    }
)


def rights_of(role: PersonRole, *, platform: bool) -> RoleRights:
    """What a role allows at the platform, or at any other party."""
    return (PLATFORM_RIGHTS if platform else PARTY_RIGHTS)[role]
