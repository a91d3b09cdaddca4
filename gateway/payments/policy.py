"""The figures that a payment follows: retry schedule, grace of a request, default estimate. Data, not code.

Owns: the numbers and their sources. Must not know: SQL, the PSP and its own rules, the clock.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from gateway.payments.requests import Estimate
from gateway.retry_policy import RetryPolicy

# When an unanswered request is sent again, by attempts made so far; daily past the last.
PSP_REQUEST_RETRY: Final = RetryPolicy.of_seconds(5, 60, 300, 3_600, 86_400)


class FeatureChoice(StrEnum):
    """Whether a hold asks for what only some accounts at the PSP may have. `auto`: until it is refused."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class StatementSource(StrEnum):
    """What a card statement says after the account's own name: an unknown payee is a reason for disputes."""

    NONE = "none"
    CPO = "cpo"  # the operator, such as NL-ABC
    SITE = "site"  # the operator's name of the location


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPolicy:
    """What an operator may set. `call_grace` must be longer than the PSP adapter's own timeout."""

    call_grace: timedelta = timedelta(seconds=30)  # until an intended request counts as lost
    default_energy_wh: int = 60_000  # a full charge of a common car, where the caller estimates nothing
    default_duration_s: int = 3_600
    increments: FeatureChoice = FeatureChoice.AUTO  # holds that may be raised
    over_capture: FeatureChoice = FeatureChoice.AUTO  # captures above the hold
    statement: StatementSource = StatementSource.CPO

    def statement_of(self, *, cpo_id: str, location_id: str | None) -> str | None:
        """What the statement of a session's payment says, as far as the PSP can write it."""
        match self.statement:
            case StatementSource.NONE:
                return None
            case StatementSource.SITE if location_id:
                return location_id
            case _:
                return cpo_id

    def default_estimate(self, *, max_power_w: int | None) -> Estimate:
        """What to expect where the caller does not say: a full charge, at the pace of a slow connector."""
        duration_s = self.default_duration_s
        if max_power_w:
            duration_s = max(duration_s, -(-self.default_energy_wh * 3600 // max_power_w))
        return Estimate(energy_wh=self.default_energy_wh, duration_s=duration_s)
