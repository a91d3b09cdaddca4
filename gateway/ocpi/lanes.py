"""The lanes of work of the OCPI edge, for the worker to run.

Owns: which there are. Must not know: when a worker runs them.
"""

from typing import Final

from gateway.ocpi.advice import AdviceLane
from gateway.ocpi.outbox import OutboxLane
from gateway.ocpi.pace import Pace
from gateway.ocpi.pulling import Puller
from gateway.ocpi.running_cost import Holds, RunningCostLane
from gateway.ocpi.services import OcpiServices
from gateway.ocpi.token_payments import TokenPayments

_ADVICE_EVERY_S: Final = 5.0


def ocpi_lanes(
    services: OcpiServices,
) -> list[Puller | OutboxLane | AdviceLane | RunningCostLane]:
    """Pulls, messages to peers, financial advices; and the running cost of sessions.

    The last where the payment service stands behind the authorizer. Each is safe in any number of processes.
    """
    holds: Holds | None = (
        services.authorizer.payments if isinstance(services.authorizer, TokenPayments) else None
    )
    lanes: list[Puller | OutboxLane | AdviceLane | RunningCostLane] = [
        Puller(services=services),
        OutboxLane(services=services),
        AdviceLane(services=services, pace=Pace(every_s=_ADVICE_EVERY_S)),
    ]
    if holds is not None:
        lanes.append(RunningCostLane(services=services, holds=holds))
    return lanes
