"""The lanes of work of the OCPI edge, for the worker to run.

Owns: which there are. Must not know: when a worker runs them.
"""

from gateway.ocpi.advice import AdviceLane
from gateway.ocpi.outbox import OutboxLane
from gateway.ocpi.pulling import Puller
from gateway.ocpi.services import OcpiServices


def ocpi_lanes(services: OcpiServices) -> list[Puller | OutboxLane | AdviceLane]:
    """Pulls of peers' lists, messages to peers, financial advices.

    Each is safe in any number of processes.
    """
    return [Puller(services=services), OutboxLane(services=services), AdviceLane(services=services)]
