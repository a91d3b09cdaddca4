"""Checkpoints of a run: one line per finished step, so that a killed run continues where it was.

Owns: the file and its tolerance of an incomplete last line. A step that was done but not recorded is repeated
under the same key and gets the same answer. Must not know: what the steps are.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

_OWNER_ONLY: Final = 0o600


class Checkpoints:
    """Steps by name with their JSON results. One process writes it; it holds secrets, so its mode is 0600."""

    def __init__(self, path: Path) -> None:
        self._results: dict[str, Any] = {}
        whole = _whole_lines(path)
        for line in whole.splitlines():
            name, result = msgspec.json.decode(line)
            self._results[name] = result
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, _OWNER_ONLY)
        os.ftruncate(descriptor, len(whole))
        os.lseek(descriptor, 0, os.SEEK_END)
        self._file = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._results

    def __getitem__(self, name: str) -> Any:
        return self._results[name]

    def record(self, name: str, result: Any) -> None:
        """Write a step's result; it survives the death of this process."""
        self._results[name] = result
        self._file.write(msgspec.json.encode([name, result]) + b"\n")
        self._file.flush()

    async def once(self, name: str, step: Callable[[], Awaitable[Any]]) -> Any:
        """The step's result: recorded, or by doing it now."""
        if name not in self._results:
            self.record(name, await step())
        return self._results[name]


def _whole_lines(path: Path) -> bytes:
    """The file up to its last newline: what follows was cut off by a kill."""
    if not path.exists():
        return b""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]
