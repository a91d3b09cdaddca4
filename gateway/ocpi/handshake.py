"""What a credentials handshake did, call by call, so that whoever connects two platforms sees where it ended.

Owns: the record of one handshake while it runs. Must not know: the order of its steps. No token is in it. A
record that can't be stored is logged: it never changes the handshake.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Self
from urllib.parse import urlsplit

import asyncpg
import structlog

from gateway.clock import Clock
from gateway.database import TRANSIENT, Pool, transaction
from gateway.ids import new_id
from gateway.logs import first_line
from gateway.ocpi.client import PeerAnswer, PeerCaller
from gateway.ocpi.errors import OcpiRejectionError, PeerRejectedError, StatusCode
from gateway.ocpi.repository import handshakes
from gateway.ocpi.repository.handshakes import HandshakeStep

_log = structlog.get_logger(__name__)
_OK: Final = 200


@dataclass(slots=True, kw_only=True)
class Handshake:
    """The calls of one handshake with a party, in their order. Used as a context: its end stores them."""

    pool: Pool
    clock: Clock
    party_id: str
    steps: list[HandshakeStep] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        if not self.steps:
            return
        try:
            async with transaction(self.pool) as connection:
                await handshakes.add_steps(connection, self.steps)
        except (*TRANSIENT, asyncpg.ForeignKeyViolationError) as error:
            _log.warning("ocpi_handshake_not_recorded", party_id=self.party_id, reason=first_line(error))

    def watched(self, caller: PeerCaller) -> PeerCaller:
        """A caller whose calls are steps of this handshake."""
        return replace(caller, observe=self.sent)

    def sent(self, method: str, url: str, answer: PeerAnswer | Exception) -> None:
        """Note a call of ours and what the peer answered."""
        statuses: tuple[int | None, int | None]
        if isinstance(answer, PeerAnswer):
            statuses, message = (answer.http_status, StatusCode.SUCCESS), ""
        elif isinstance(answer, PeerRejectedError):
            statuses, message = (answer.http_status or None, answer.code), str(answer)
        else:
            statuses, message = (None, None), str(answer)
        self._add(("sent", method, url), statuses, message)

    def received(self, method: str, url: str, answer: str | OcpiRejectionError) -> None:
        """Note the peer's call and what we answered: what was agreed, or why not."""
        if isinstance(answer, OcpiRejectionError):
            self._add(("received", method, url), (answer.http_status, answer.code), answer.text)
        else:
            self._add(("received", method, url), (_OK, StatusCode.SUCCESS), answer)

    def _add(self, call: tuple[str, str, str], statuses: tuple[int | None, int | None], message: str) -> None:
        direction, method, url = call
        parts = urlsplit(url)
        self.steps.append(
            HandshakeStep(
                id=new_id(),
                party_id=self.party_id,
                direction=direction,
                method=method,
                url=f"{parts.scheme}://{parts.netloc}{parts.path}" if parts.netloc else parts.path,
                http_status=statuses[0],
                ocpi_status=statuses[1],
                message=message,
                occurred_at=self.clock.wall_now(),
            )
        )
