"""Runs a command that ends when its parent does, however the parent ends.

Owns the tie between a child and its parent, and the drop of root's rights before the child starts. Must not
know what it runs. Standard library only: it is also run as a script by a bare interpreter (`python -I -S
lifeline.py`).

On Linux the kernel keeps the tie (PR_SET_PDEATHSIG) and the script becomes the command, so the child's
process id is the command's. Elsewhere the script stays, watches its parent, and passes signals on. The
kernel's tie is to the *thread* that started the child: start it from a thread that lives as long as the
child.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1
_POLL_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 15.0
_EXIT_ORPHANED: Final = 75
_ARGUMENTS: Final = 5


def tied_command(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    user: tuple[int, int] | None = None,
    watch: bool = not sys.platform.startswith("linux"),
) -> list[str]:
    """Return the command line that runs `command` tied to the calling process.

    Args:
        command: an absolute program and its arguments.
        death_signal: what the command receives once its parent has ended.
        user: (uid, gid) to become first; supplementary groups are dropped. None keeps the caller's rights.
        watch: stay and watch instead of using the kernel.
    """
    uid, gid = user if user is not None else (-1, -1)
    mode = "watch" if watch else "kernel"
    script = str(Path(__file__).resolve())
    settings = [mode, str(os.getpid()), str(int(death_signal)), str(uid), str(gid)]
    return [sys.executable, "-I", "-S", script, *settings, *command]


def main(arguments: Sequence[str]) -> NoReturn:
    """Tie this process to the parent and become, or watch, the command."""
    mode = arguments[0]
    parent, death_signal, uid, gid = (int(text) for text in arguments[1:_ARGUMENTS])
    command = list(arguments[_ARGUMENTS:])
    if uid >= 0:
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        except OSError as error:
            sys.exit(f"can't become user {uid}: {error.strerror}")
        os.chdir("/")
    if mode == "watch":
        _watch(command, parent=parent, death_signal=death_signal)
    # After the change of user, which clears it.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"can't tie {command[0]} to its parent: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit(_EXIT_ORPHANED)
    os.execv(command[0], command)  # noqa: S606 - the caller's own command, no shell


def _watch(command: list[str], *, parent: int, death_signal: int) -> NoReturn:
    """Run the command, pass signals on, and end it when the parent has ended."""
    if os.getppid() != parent:
        sys.exit(_EXIT_ORPHANED)
    early: list[int] = []  # signals received before the child exists
    pass_on = early.append
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, lambda received, _frame: pass_on(received))
    child = subprocess.Popen(command)  # noqa: S603 - the caller's own command, no shell
    pass_on = child.send_signal
    for received in early:
        child.send_signal(received)
    while child.poll() is None:
        if os.getppid() != parent:
            child.send_signal(death_signal)
            try:
                child.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
            break
        time.sleep(_POLL_SECONDS)
    status = child.wait()
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main(sys.argv[1:])
