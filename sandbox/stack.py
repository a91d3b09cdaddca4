"""The whole system on one machine: embedded PostgreSQL, sandbox PSP, gateway and workers as real processes.

Owns: what is started with which settings, in which order, the restart of what dies, and the stack's own ports
and secrets, which stay the same when a state directory is used again. Must not know what it is used for.
Everything listens on loopback and ends with this process.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Protocol

from sandbox.errors import SupervisorError
from sandbox.postgres.embedded import EmbeddedPostgres
from sandbox.postgres.files import blocking_ancestor, server_user
from sandbox.processes.supervisor import ChildSpec, HttpReady, LineReady, Server, Supervisor

_HOST: Final = "127.0.0.1"
_PSP_API_KEY: Final = "sk_test_sandbox"  # the sandbox PSP's documented key, not a secret
_PSP_PUBLISHABLE_KEY: Final = "pk_test_sandbox"
Migrate = Callable[[str], Awaitable[object]]
_PLAN_FILE: Final = "stack.json"
_LOCK_FILE: Final = "stack.lock"
_OWNER_ONLY: Final = 0o600
_NO_SETTINGS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPlan:
    """What a state directory keeps for the stack: ports, secrets, and where PostgreSQL's data is."""

    gateway_port: int
    psp_port: int
    receiver_port: int
    admin_api_key: str = field(repr=False)
    psp_webhook_secret: str = field(repr=False)
    postgres_dir: str


class StackDatabase(Server, Protocol):
    """The database of a stack, such as the embedded PostgreSQL."""

    @property
    def dsn(self) -> str:
        """Its address, `postgresql://...`."""
        ...

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running stack."""

    plan: StackPlan
    postgres: StackDatabase
    supervisor: Supervisor
    log_dir: Path

    @property
    def gateway_url(self) -> str:
        """The capture API, OCPI and Plug & Charge."""
        return f"http://{_HOST}:{self.plan.gateway_port}"

    @property
    def psp_url(self) -> str:
        """The sandbox PSP."""
        return f"http://{_HOST}:{self.plan.psp_port}"

    @property
    def psp_api_key(self) -> str:
        """The platform's key at the sandbox PSP."""
        return _PSP_API_KEY

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: postgres, sandbox-psp, gateway, worker-1, ..."""
        postgres = {} if self.postgres.pid is None else {"postgres": self.postgres.pid}
        return postgres | self.supervisor.pids


@asynccontextmanager
async def running_stack(
    state_dir: Path,
    *,
    migrate: Migrate,
    workers: int = 2,
    console_processes: int = 0,
    gateway_port: int | None = None,
    settings: Mapping[str, str] = _NO_SETTINGS,
    database: StackDatabase | None = None,
    on_ready: Callable[[str], None] = lambda _name: None,
    on_event: Callable[[str], None] = lambda _line: None,
) -> AsyncIterator[Stack]:
    """Run the stack for the length of the block.

    `migrate` brings the schemas of the database at a DSN forward. `database` is used in place of an embedded
    PostgreSQL in the state directory, `settings` are the gateway's and the workers' beside the stack's own.
    `on_ready` gets the name of each process
    that is ready, `on_event` a line on what takes long, dies or restarts.

    Raises EmbeddedPostgresError, SupervisorError or what `migrate` raises, each saying what failed and why.
    """
    with _locked(state_dir):
        async with _running(
            state_dir,
            migrate=migrate,
            workers=workers,
            console_processes=console_processes,
            gateway_port=gateway_port,
            settings=settings,
            database=database,
            on_ready=on_ready,
            on_event=on_event,
        ) as stack:
            yield stack


@asynccontextmanager
async def _running(
    state_dir: Path,
    *,
    migrate: Migrate,
    workers: int,
    console_processes: int,
    gateway_port: int | None,
    settings: Mapping[str, str],
    database: StackDatabase | None,
    on_ready: Callable[[str], None],
    on_event: Callable[[str], None],
) -> AsyncIterator[Stack]:
    plan = _plan(state_dir, gateway_port=gateway_port)
    log_dir = state_dir / "logs"
    postgres = database or EmbeddedPostgres(Path(plan.postgres_dir), progress=on_event)
    try:
        async with Supervisor(log_dir=log_dir, on_event=on_event) as supervisor:
            await supervisor.start_server(postgres)
            await migrate(postgres.dsn)
            on_ready("postgres")
            stack = Stack(plan=plan, postgres=postgres, supervisor=supervisor, log_dir=log_dir)
            await _start_children(
                stack,
                state_dir,
                workers=workers,
                console_processes=console_processes,
                settings=settings,
                on_ready=on_ready,
            )
            yield stack
    except BaseExceptionGroup as errors:
        raise _first_error(errors) from None


def remove_state(state_dir: Path) -> None:
    """Delete a state directory and PostgreSQL's data, wherever it is.

    Raises SupervisorError when a stack runs on it.
    """
    stored = state_dir / _PLAN_FILE
    if stored.exists():
        with _locked(state_dir):
            postgres_dir = Path(json.loads(stored.read_text(encoding="utf-8"))["postgres_dir"])
            shutil.rmtree(postgres_dir, ignore_errors=True)
            shutil.rmtree(state_dir, ignore_errors=True)


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Lock the state directory against every other process, for the length of the block."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / _LOCK_FILE).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SupervisorError(
                f"another process runs a stack on {state_dir}; stop it, or choose another --state-dir"
            ) from None
        yield


async def _start_children(
    stack: Stack,
    state_dir: Path,
    *,
    workers: int,
    console_processes: int,
    settings: Mapping[str, str],
    on_ready: Callable[[str], None],
) -> None:
    """Start all concurrently: each waits for what it needs."""
    environment = _environment(stack) | dict(settings)
    gateway = ChildSpec(
        name="gateway",
        arguments=("serve", "--console-processes", str(console_processes)),
        environment=environment,
        readiness=HttpReady(url=f"{stack.gateway_url}/readyz"),
    )
    working = [
        ChildSpec(name=f"worker-{number}", arguments=("work",), environment=environment)
        for number in range(1, workers + 1)
    ]

    async def start(spec: ChildSpec) -> None:
        await stack.supervisor.start(spec)
        on_ready(spec.name)

    async with asyncio.TaskGroup() as group:
        for spec in (_psp_spec(stack, state_dir), gateway, *working):
            group.create_task(start(spec))


def _psp_spec(stack: Stack, state_dir: Path) -> ChildSpec:
    secret_file = state_dir / "psp_webhook_secret"
    _write_private(secret_file, stack.plan.psp_webhook_secret)
    arguments = (
        "sandbox-psp",
        "--host",
        _HOST,
        "--port",
        str(stack.plan.psp_port),
        "--state",
        str(state_dir / "psp.sqlite"),
        "--api-key",
        _PSP_API_KEY,
        "--webhook-url",
        f"{stack.gateway_url}/v1/psp/webhooks",
        "--webhook-secret-file",
        str(secret_file),
        "--webhook-events",
        "gateway",
    )
    return ChildSpec(name="sandbox-psp", arguments=arguments, readiness=LineReady())


def _environment(stack: Stack) -> dict[str, str]:
    return {
        "NETWORKCORE_DATABASE_URL": stack.postgres.dsn,
        "NETWORKCORE_PSP_BASE_URL": stack.psp_url,
        "NETWORKCORE_PSP_API_KEY": _PSP_API_KEY,
        "NETWORKCORE_PSP_PUBLISHABLE_KEY": _PSP_PUBLISHABLE_KEY,
        "NETWORKCORE_PSP_WEBHOOK_SECRET": stack.plan.psp_webhook_secret,
        "NETWORKCORE_ADMIN_API_KEY": stack.plan.admin_api_key,
        "NETWORKCORE_ENVIRONMENT": "sandbox",
        "NETWORKCORE_CLOCK": "market",
        "NETWORKCORE_HOST": _HOST,
        "NETWORKCORE_PORT": str(stack.plan.gateway_port),
        # Everything runs on this machine: what takes longer was killed, and its leases may be taken over.
        "NETWORKCORE_PSP_TIMEOUT_SECONDS": "5",
        "NETWORKCORE_REQUEST_TIMEOUT_SECONDS": "10",
        "NETWORKCORE_WORKER_LEASE_SECONDS": "15",
    }


def _plan(state_dir: Path, *, gateway_port: int | None) -> StackPlan:
    """The plan of the state directory; created the first time."""
    path = state_dir / _PLAN_FILE
    if path.exists():
        return StackPlan(**json.loads(path.read_text(encoding="utf-8")))
    gateway, psp, receiver = _free_ports(3)
    plan = StackPlan(
        gateway_port=gateway_port or gateway,
        psp_port=psp,
        receiver_port=receiver,
        admin_api_key=f"nck_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}",
        psp_webhook_secret=f"whsec_{secrets.token_hex(24)}",
        postgres_dir=str(_postgres_dir(state_dir)),
    )
    _write_private(path, json.dumps(asdict(plan)))
    return plan


def _postgres_dir(state_dir: Path) -> Path:
    """Below the state directory, unless the server's user can't get there (root's own directory)."""
    inside = (state_dir / "postgres").resolve()
    if blocking_ancestor(inside, user=server_user()) is None:
        return inside
    digest = hashlib.sha256(os.fsencode(inside)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"networkcore-data-{digest}"


def _free_ports(count: int) -> list[int]:
    """Loopback ports that are free at this moment, all different."""
    servers = [socket.create_server((_HOST, 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in servers]
    for server in servers:
        server.close()
    return ports


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def _first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error inside a group of errors."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
