"""The metrics of every process of a group in one answer, each under its number.

Owns: how a process gives its own to the others, and how they are joined. Must not know which metrics there
are. A scrape reaches any one process; a counter is that process's own, so it starts again with a new process,
as Prometheus expects of a counter.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import structlog
from aiohttp import web

_log = structlog.get_logger(__name__)
_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)
_SAMPLE: Final = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<rest>\S.*)")
_HEADER: Final = re.compile(r"# (?:HELP|TYPE) (?P<name>\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMetrics:
    """What one process of a group shows of itself, and reads of the others."""

    number: int
    of: int
    directory: Path
    own: Callable[[], bytes]

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Give this process's metrics to the others while the block runs, at a socket in their directory."""
        path = self._path(self.number)
        path.unlink(missing_ok=True)  # of a process that was killed

        async def answer(_request: web.Request) -> web.Response:
            return web.Response(body=self.own())

        app = web.Application()
        app.router.add_get("/metrics", answer)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.UnixSite(runner, str(path)).start()
            yield
        finally:
            await runner.cleanup()
            path.unlink(missing_ok=True)

    async def read(self) -> bytes:
        """The metrics of every process that answers; one that is being replaced is left out, and logged."""
        others = [number for number in range(1, self.of + 1) if number != self.number]
        answers = await asyncio.gather(*(self._ask(number) for number in others))
        found = {number: text for number, text in zip(others, answers, strict=True) if text is not None}
        return join_metrics({self.number: self.own().decode(), **found}).encode()

    async def _ask(self, number: int) -> str | None:
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            connector = aiohttp.UnixConnector(path=str(self._path(number)))
            async with (
                aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as client,
                client.get("http://process/metrics") as response,
            ):
                return await response.text()
        _log.warning("process_metrics_missing", number=number)
        return None

    def _path(self, number: int) -> Path:
        return self.directory / f"{number}.sock"


def join_metrics(texts: Mapping[int, str]) -> str:
    """One text in Prometheus' format of several: each metric described once, each sample with its process."""
    headers: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in sorted(texts.items()):
        metric = ""
        for line in text.splitlines():
            if header := _HEADER.match(line):
                metric = header["name"]
                known = headers.setdefault(metric, [])
                if line not in known:
                    known.append(line)
            elif sample := _SAMPLE.fullmatch(line):
                labels = f",{sample['labels']}" if sample["labels"] else ""
                samples.setdefault(metric, []).append(
                    f'{sample["name"]}{{process="{number}"{labels}}} {sample["rest"]}'
                )
    lines = [line for metric, header in headers.items() for line in (*header, *samples.get(metric, ()))]
    return "".join(f"{line}\n" for line in lines)
