"""Progress of a run on the terminal: one line per phase, with a bar where the terminal can show one.

Owns: rich's progress display. Must not know what is being done.
"""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

_WIDTH: Final = 30


class TerminalProgress:
    """Shows phases and their steps; notes are printed on a line of their own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=_WIDTH),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[note]}[/dim]"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._title = ""
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._end_phase()
        self._progress.stop()

    def start_phase(self, title: str, *, steps: int) -> None:
        """A phase of the run begins; the one before it has ended."""
        self._end_phase()
        self._title = title
        self._task = self._progress.add_task(title, total=max(steps, 1), note="")
        if not self._console.is_terminal:
            self._console.print(f"{time.monotonic() - self._started:6.1f} s  {title}")

    def advance(self, note: str = "") -> None:
        """One step is done."""
        if self._task is not None:
            self._progress.update(self._task, advance=1, note=note)

    def note(self, line: str) -> None:
        """Something happened besides the steps."""
        self._console.print(f"          [yellow]{line}[/yellow]")

    def _end_phase(self) -> None:
        if self._task is None:
            return
        for task in self._progress.tasks:
            if task.id == self._task:
                self._progress.update(
                    self._task, total=task.completed or 1, completed=task.completed or 1, note=""
                )
        self._task = None


class NotesOnly:
    """Prints notes and nothing else: for programs that read only the result."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def start_phase(self, title: str, *, steps: int) -> None:
        """A phase of the run begins."""

    def advance(self, note: str = "") -> None:
        """One step is done."""

    def note(self, line: str) -> None:
        """Something happened besides the steps."""
        self._console.print(line, highlight=False, soft_wrap=True)
