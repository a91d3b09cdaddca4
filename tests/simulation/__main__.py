"""Play seeds on an embedded PostgreSQL; a failing one is reported and replays exactly.

python -m tests.simulation 0:500            seeds 0 to 499
python -m tests.simulation 17 --history     one seed, step by step
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import structlog

from gateway.database import create_pool
from gateway.migrations import migrate
from sandbox.postgres.embedded import EmbeddedPostgres
from tests.simulation.application import Ground
from tests.simulation.runner import STEPS, Played, play


def main() -> int:
    """Exit status 1 when a rule broke in any seed."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("seeds", help="first:after_last, or one seed")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--history", action="store_true", help="print every step")
    parser.add_argument("--keep-going", action="store_true", help="play on after a broken rule")
    chosen = parser.parse_args()
    first, _, last = chosen.seeds.partition(":")
    seeds = range(int(first), int(last) if last else int(first) + 1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    directory = Path(tempfile.mkdtemp(prefix="networkcore-simulate-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        with EmbeddedPostgres(
            directory / "postgres", durable=False, settings={"autovacuum": "off"}
        ) as server:
            return asyncio.run(_run(server.dsn, seeds, chosen))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _run(dsn: str, seeds: range, chosen: argparse.Namespace) -> int:
    await migrate(dsn)
    pool = await create_pool(dsn, min_size=1, max_size=8, application="simulation")
    counts: Counter[str] = Counter()
    failed = []
    began = time.perf_counter()
    try:
        ground = Ground(pool)
        await ground.prepare()
        for seed in seeds:
            played = await play(ground, seed, steps=chosen.steps)
            counts.update(played.counts)
            if chosen.history:
                sys.stdout.write("\n".join(played.history) + f"\n{played.digest}\n")
            if played.broken is not None:
                failed.append(played)
                _tell(played)
                if not chosen.keep_going:
                    break
    finally:
        await pool.close()
    elapsed = time.perf_counter() - began
    sys.stdout.write(
        f"{len(seeds)} seeds, {len(failed)} broken, {elapsed:.1f} s; "
        + ", ".join(f"{name} {count}" for name, count in counts.most_common())
        + "\n"
    )
    return 1 if failed else 0


def _tell(played: Played) -> None:
    sys.stdout.write(
        f"seed {played.seed} broke a rule after {played.steps} steps:\n{played.broken}\n"
        f"replay: make simulate SEEDS={played.seed} ARGS=--history\n"
    )


if __name__ == "__main__":
    sys.exit(main())
