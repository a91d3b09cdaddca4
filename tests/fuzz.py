"""Send every operation of docs/openapi.json made-up input, as each kind of party and without a key.

python -m tests.fuzz SCHEMATHESIS --minutes 5     SCHEMATHESIS: the program, of an environment of its own

Owns: who calls, for how long, and what counts as a fault: a status of 5xx, or an input against the
description that is taken. The stack is `networkcore dev`, with a database and a PSP of its own. Exit status
0: no fault; 1: faults, each printed with a curl command; 2: the stack or schemathesis did not run.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

ROOT: Final = Path(__file__).parents[1]
# Each kind of party once; the administrator last, because it may change what the others have.
CALLERS: Final = ("none", "parkingapp", "mobility", "NL-POL", "admin")
CHECKS: Final = "not_a_server_error,negative_data_rejection"
_STOP_SECONDS: Final = 60
_GRACE_SECONDS: Final = 120  # of a run beyond its share: the description is read, the summary written
_FAULTS: Final = 1


def command_of(program: str, *, base_url: str, key: str | None, seconds: int, seed: int | None) -> list[str]:
    """The command line of one caller's run."""
    line = [program, "run", str(ROOT / "docs/openapi.json"), "--url", base_url, "--checks", CHECKS]
    line += ["--phases", "examples,coverage,fuzzing", "--max-time", str(seconds), "--continue-on-failure"]
    line += ["--generation-database", "none", "--warnings", "off", "--no-color"]
    if key is not None:
        line += ["--header", f"Authorization: Bearer {key}"]
    if seed is not None:
        line += ["--seed", str(seed)]
    return line


def key_of(stack: Mapping[str, Any], caller: str) -> str | None:
    """The API key of a caller on this stack; None: it has none."""
    keys: Mapping[str, str] = stack["api_keys"] | {"admin": stack["admin_api_key"]}
    return None if caller == "none" else keys[caller]


@contextmanager
def running_stack(state_dir: Path) -> Iterator[Mapping[str, Any]]:
    """A `networkcore dev` of its own, with what it printed; it ends with the block."""
    command = [sys.executable, "-m", "gateway", "dev", "--json", "--state-dir", str(state_dir)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = "" if process.stdout is None else process.stdout.readline()
            if not line:
                raise SystemExit(2)
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=_STOP_SECONDS)


def main() -> int:
    """Run schemathesis once for each caller, each with an equal share of the time."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("program", help="the schemathesis program")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, help="of an earlier run, to repeat what it sent")
    chosen = parser.parse_args()
    seconds = max(1, int(chosen.minutes * 60 / len(CALLERS)))
    state_dir = Path(tempfile.mkdtemp(prefix="networkcore-fuzz-"))
    statuses: dict[str, int] = {}
    try:
        with running_stack(state_dir) as stack:
            for caller in CALLERS:
                click.echo(f"== {caller} ==")
                line = command_of(
                    chosen.program,
                    base_url=stack["base_url"],
                    key=key_of(stack, caller),
                    seconds=seconds,
                    seed=chosen.seed,
                )
                run = subprocess.run(line, cwd=state_dir, timeout=seconds + _GRACE_SECONDS, check=False)
                statuses[caller] = run.returncode
    finally:
        shutil.rmtree(state_dir, ignore_errors=True)
    for caller, status in statuses.items():
        click.echo(f"{caller}: {'no fault' if status == 0 else f'schemathesis ended with {status}'}")
    worst = max(statuses.values())
    return worst if worst <= _FAULTS else 2


if __name__ == "__main__":
    sys.exit(main())
