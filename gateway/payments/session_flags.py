"""The flags that a session has from its start.

Owns: their names and when each is set. Must not know: the database, the flags that checks of its usage add.
"""

from collections.abc import Sequence
from typing import Final

from gateway.payments.requests import AuthorizationRequest, ChargePoint

AD_HOC_FOR_CONTRACT: Final = "ad_hoc_for_contract"  # a contract's session at the ad hoc tariff
SECURED_LATE: Final = "secured_late"  # the station was offline; authorized after it had begun
ACCEPTED_BY_WHITELIST: Final = "accepted_by_whitelist"  # the CPO asked nobody; authorized after it had ended


# The session had begun, or ended, before its payment was secured.
BEGUN_BEFORE: Final = frozenset({SECURED_LATE, ACCEPTED_BY_WHITELIST})


def flags_at_start(point: ChargePoint, request: AuthorizationRequest) -> Sequence[str]:
    """The flags of a session that `request` opens at `point`."""
    found = []
    if point.ad_hoc_for_contract:
        found.append(AD_HOC_FOR_CONTRACT)
    if request.by_whitelist:
        found.append(ACCEPTED_BY_WHITELIST)
    elif request.started_at is not None:
        found.append(SECURED_LATE)
    return tuple(found)
