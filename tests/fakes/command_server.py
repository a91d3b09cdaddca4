"""A process that has loaded `networkcore` and forks for each command, which then need not load it.

Reads a request a line as JSON: arguments, directory, environment, files of the three streams, seconds until
the command is ended. Answers the exit status, negative for a signal, as `subprocess` has it.
"""

import gc
import json
import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Any, NoReturn

from gateway.cli.main import COMMANDS, main

_FLAGS = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)


def serve() -> None:
    """Answer until the input ends."""
    for commands in COMMANDS.values():
        for module, _ in commands.values():
            import_module(module)
    import_module("gateway.application")
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(request)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(request: dict[str, Any]) -> NoReturn:
    status: Any = 70
    try:
        signal.alarm(request["timeout_s"])
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        for number, (path, flags) in enumerate(zip(request["streams"], _FLAGS, strict=True)):
            opened = os.open(path, flags)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = os.fdopen(0, encoding="utf-8")
        sys.argv = ["networkcore", *request["arguments"]]
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 - the process ends with it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    serve()
