"""How much memory each process has over time.

Owns: reading it from /proc, and whether it levels. Must not know: what the processes do.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_EVERY_S: Final = 2.0
_PART: Final = 4  # the first quarter warms up; the others are compared


@dataclass(slots=True, kw_only=True)
class MemoryLog:
    """Samples of each process (by name and id, so that a restarted one is another), in MiB."""

    pids: Callable[[], Mapping[str, int]]
    samples: dict[tuple[str, int], list[tuple[float, float]]] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            for name, pid in self.pids().items():
                with suppress(OSError, ValueError):
                    line = (time.monotonic() - self._began, resident_mib(pid))
                    self.samples.setdefault((name, pid), []).append(line)
            await asyncio.sleep(_EVERY_S)

    def rows(self) -> list[tuple[str, ...]]:
        """Of each process's longest life: its seconds, MiB at each quarter, and MiB an hour at the end."""
        longest: dict[str, list[tuple[float, float]]] = {}
        for (name, _), samples in self.samples.items():
            if len(samples) > len(longest.get(name, [])):
                longest[name] = samples
        return [
            (name, f"{samples[-1][0] - samples[0][0]:.0f}", *quarters(samples), f"{slope(samples):+.1f}")
            for name, samples in sorted(longest.items())
        ]


def resident_mib(pid: int) -> float:
    """A process's resident memory. Raises OSError where it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"process {pid} has no memory")


def quarters(samples: list[tuple[float, float]]) -> list[str]:
    """Memory at the start, at each quarter and at the end."""
    last = len(samples) - 1
    return [f"{samples[last * part // _PART][1]:.1f}" for part in range(_PART + 1)]


def slope(samples: list[tuple[float, float]]) -> float:
    """MiB an hour over the last half, by least squares: 0 where memory has levelled."""
    half = samples[len(samples) // 2 :]
    mean_at = sum(at for at, _ in half) / len(half)
    mean = sum(mib for _, mib in half) / len(half)
    spread = sum((at - mean_at) ** 2 for at, _ in half)
    return 0.0 if spread == 0 else 3600 * sum((at - mean_at) * (mib - mean) for at, mib in half) / spread
