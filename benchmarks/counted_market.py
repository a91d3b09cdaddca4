"""`networkcore dev --json` on a PostgreSQL that can count statements: a process of benchmarks.session_cost.

Owns: that server's settings. Must not know what is measured.
"""

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.console import Console

from gateway.cli.process import cancel_on_signals, run_async
from gateway.migrations import migrate
from sandbox.market.dev_market import open_dev_market
from sandbox.market.progress import NotesOnly
from sandbox.postgres.embedded import EmbeddedPostgres

_SETTINGS: Final = MappingProxyType({"shared_preload_libraries": "pg_stat_statements"})


async def _run(directory: Path) -> None:
    cancel_on_signals()
    database = EmbeddedPostgres(directory.with_name("counted-postgres"), settings=_SETTINGS)
    with suppress(asyncio.CancelledError):
        async with open_dev_market(
            directory,
            workers=1,
            gateway_port=None,
            migrate=migrate,
            progress=NotesOnly(Console(stderr=True)),
            database=database,
        ) as market:
            print(json.dumps(market.to_json()), flush=True)
            await asyncio.Event().wait()  # until a signal cancels it


if __name__ == "__main__":
    run_async(_run(Path(sys.argv[1])))
