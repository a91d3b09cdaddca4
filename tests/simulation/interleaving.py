"""Operations that run together and yet always the same way: one moves at a time, until it calls the PSP.

Owns: starting, stopping and going on. Must not know: what an operation does. An operation is stopped at each
request to the PSP; whoever holds the rng says which one goes on next, and with which verdict. So two
completes of one session, a resolver and a webhook interleave at every seam between our phases, and a seed
repeats the order exactly. An operation can also be killed there, as if its process had died: before the PSP
has received it, or after the effect and before the answer was recorded.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, Final

from tests.simulation.in_process import SeenRequest, Verdict

_PATIENCE_S: Final = 20.0
_mine: ContextVar["Operation | None"] = ContextVar("operation", default=None)


class Operation:
    """One request of a partner, one task or one round of a job."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.task: asyncio.Task[Any] | None = None
        self.waits_with: SeenRequest | None = None
        self.dies_after = False
        self._go: asyncio.Future[Verdict] | None = None
        self._still = asyncio.Event()

    @property
    def done(self) -> bool:
        return self.task is not None and self.task.done()

    async def until_still(self) -> None:
        """Wait until it has ended or sends a request to the PSP."""
        async with asyncio.timeout(_PATIENCE_S):
            await self._still.wait()

    async def stop_at(self, sent: SeenRequest) -> Verdict:
        """Called from within: wait until the operation is let on."""
        self.waits_with = sent
        self._go = asyncio.get_running_loop().create_future()
        self._still.set()
        return await self._go

    def go_on(self, verdict: Verdict) -> None:
        assert self._go is not None
        self.waits_with = None
        self._still.clear()
        self._go.set_result(verdict)

    def kill(self) -> None:
        assert self.task is not None
        self.waits_with = None
        self._still.clear()
        self.task.cancel("the process died")

    def ended(self, _task: asyncio.Task[Any]) -> None:
        self._still.set()


class Turns:
    """The operations under way. `stop` False lets every request through at once."""

    def __init__(self) -> None:
        self.under_way: list[Operation] = []
        self.stop = True

    async def verdict(self, sent: SeenRequest) -> Verdict:
        """The wire's question about a request."""
        operation = _mine.get()
        if operation is None or not self.stop:
            return Verdict.DELIVER
        return await operation.stop_at(sent)

    async def answered(self, _seen: SeenRequest) -> None:
        """The PSP has carried a request out; its sender may die before it learns so."""
        operation = _mine.get()
        if operation is not None and operation.dies_after:
            operation.kill()
            await asyncio.Event().wait()

    async def start(self, name: str, work: Coroutine[Any, Any, Any]) -> Operation:
        """Begin, and run until it ends or sends a request to the PSP."""
        operation = Operation(name)
        context = copy_context()
        context.run(_mine.set, operation)
        operation.task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        operation.task.add_done_callback(operation.ended)
        self.under_way.append(operation)
        await operation.until_still()
        return operation

    async def go_on(self, operation: Operation, verdict: Verdict) -> None:
        """Let a waiting operation go on, until it ends or sends another request."""
        operation.go_on(verdict)
        await operation.until_still()

    async def kill(self, operation: Operation, *, after_effect: bool) -> None:
        """End an operation as if its process had died, with or without its request carried out."""
        if after_effect:
            operation.dies_after = True
            operation.go_on(Verdict.DELIVER)
        else:
            operation.kill()
        await operation.until_still()

    @property
    def waiting(self) -> list[Operation]:
        return [operation for operation in self.under_way if operation.waits_with is not None]

    def reap(self) -> list[Operation]:
        """Operations that have ended, each handed out once."""
        ended = [operation for operation in self.under_way if operation.done]
        self.under_way = [operation for operation in self.under_way if not operation.done]
        return ended
