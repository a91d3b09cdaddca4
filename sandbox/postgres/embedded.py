"""The embedded PostgreSQL: everything runs without a database server installed.

Owns one server: created once, started, watched, stopped; it ends with its parent and is usable again after
kill -9 of either. Must not know schemas, migrations or who connects.

The server listens on a unix socket in a directory with mode 0700 and on no network address; whoever may
enter that directory is trusted. It never runs as root. A lock held by the starting process makes sure that
it has one owner.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from sandbox.errors import EmbeddedPostgresError
from sandbox.postgres.files import (
    DATABASE,
    OWNER_ROLE,
    PORT,
    ServerFiles,
    ServerUser,
    binaries,
    blocking_ancestor,
    has_ended,
    is_ready,
    own_processes,
    private_directory,
    recorded_pid,
    server_files,
    server_user,
)
from sandbox.processes.exit_with_parent import tied_command

_POLL_SECONDS: Final = 0.01
_REPORT_INTERVAL_SECONDS: Final = 10.0
_LOG_KEEP_BYTES: Final = 16 * 1024 * 1024
_LOG_TAIL_LINES: Final = 5
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_min_messages": "warning",
}
# Durability that a test can do without, and a market can't.
_NOT_DURABLE: Final[Mapping[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


_MEMORY_IN_USE: Final = "pre-existing shared memory block"  # PostgreSQL: sysv_shmem.c
_MEMORY_PAUSE_SECONDS: Final = 0.5


class _MemoryInUseError(Exception):
    """The server can't start yet: an earlier one's shared memory is in use."""


def _silent(_line: str) -> None:
    """Report no progress."""


class EmbeddedPostgres:
    """One PostgreSQL server over one data directory, for as long as this process holds it.

    A context manager, plain or asynchronous: `with EmbeddedPostgres(path) as server: connect(server.dsn)`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        progress: Callable[[str], None] = _silent,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        standby_of: Self | None = None,
        programs: Path | None = None,
        start_timeout_seconds: float = 300.0,
        stop_timeout_seconds: float = 10.0,
        memory_timeout_seconds: float = 30.0,
    ) -> None:
        """Prepare a server; nothing happens before `start`.

        Args:
            data_dir: created when missing; must be reachable by the server's user.
            progress: receives one line for each step that takes noticeable time.
            durable: False trades safety at a crash of the machine for speed: for tests only.
            settings: PostgreSQL parameters beside the defaults.
            standby_of: a running server that this one copies and then follows, until it is promoted.
            programs: a folder of PostgreSQL's programs of another version, in place of the wheel's.
            start_timeout_seconds: how long recovery after a crash may take.
            stop_timeout_seconds: how long each signal gets to end the server before a harder one is sent.
            memory_timeout_seconds: how long the memory of a server that was killed may stay in use.
        """
        self._files = server_files(data_dir)
        self._progress = progress
        self._durable = durable
        self._standby_of = standby_of
        self._programs = programs
        self._settings = dict(_SETTINGS) | ({} if durable else dict(_NOT_DURABLE)) | dict(settings or {})
        self._start_timeout_seconds = start_timeout_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._memory_timeout_seconds = memory_timeout_seconds
        self._lock: IO[bytes] | None = None
        self._process: _TiedProcess | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return "PostgreSQL"

    @property
    def dsn(self) -> str:
        """The address to connect to, `postgresql://...`; also known before the start."""
        return self._files.dsn

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._files.log

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs under us."""
        return self._process.pid if self._process is not None and self._process.alive else None

    @property
    def running(self) -> bool:
        """Whether the server that this object started is alive."""
        return self.pid is not None

    def start(self) -> None:
        """Create the cluster if it is missing, start the server and wait until it accepts connections.

        A second call while it runs does nothing; after the server died, a call starts it again.

        Raises:
            EmbeddedPostgresError: another process owns the data directory, the directory can't be used, or
                the server did not become ready; the text says which and what to do.
        """
        if self.running:
            return
        user = server_user()
        self._claim(user)
        try:
            private_directory(self._files.socket_dir, user=user)
            programs = self._programs or binaries(self._files, user=user)
            self._end_orphans()
            if not self._files.cluster.exists():
                self._create_cluster(programs, user=user)
            self._launch(programs, user=user)
        except BaseException:
            self._release()
            raise

    def stop(self) -> None:
        """Stop the server in order: open transactions roll back, memory is written out. Idempotent."""
        if self._process is not None:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                self._process.send(number)
                if self._process.wait(self._stop_timeout_seconds):
                    break
            self._process = None
        self._release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _claim(self, user: ServerUser) -> None:
        """Lock the data directory for this process, or report its owner."""
        if self._lock is not None:
            return
        blocked = blocking_ancestor(self._files.root, user=user)
        if blocked is not None:
            raise EmbeddedPostgresError(
                f"the server runs as {user.name}, which may not enter {blocked}; "
                "choose a data directory outside it, such as /var/lib/networkcore, or set DATABASE_URL"
            )
        try:
            self._files.root.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedPostgresError(f"can't create {self._files.root.parent}: {error.strerror}") from None
        private_directory(self._files.root, user=user)
        lock = _open_lock(self._files.lock, user=user)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = lock.read(32).decode("ascii", errors="replace").strip() or "unknown"
            lock.close()
            raise EmbeddedPostgresError(
                f"{self._files.root} is in use by process {owner}; stop it or choose another data directory"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n".encode("ascii"))
        lock.flush()
        self._lock = lock

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _end_orphans(self) -> None:
        """End processes of an earlier owner: this process holds the lock, so that owner is dead."""
        orphans = own_processes(self._files)
        if orphans:
            self._progress("waiting for an earlier PostgreSQL on this data to end")
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if number is signal.SIGINT and recorded_pid(self._files) not in orphans:
                continue  # The server itself is dead, and to its children SIGINT only cancels a query.
            for pid in orphans:
                _send(pid, number)
            deadline = time.monotonic() + self._stop_timeout_seconds
            while orphans and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                ending = [pid for pid in orphans if not has_ended(pid)]
                orphans = sorted({*ending, *own_processes(self._files)})
        if orphans:
            raise EmbeddedPostgresError(f"processes {orphans} use {self._files.cluster} and can't be stopped")
        # Its process has ended; PostgreSQL can't know whether another program has that id now.
        self._files.pid_file.unlink(missing_ok=True)

    def _create_cluster(self, programs: Path, *, user: ServerUser) -> None:
        """Create the cluster beside its final place, then move it there in one step."""
        self._progress("creating the database cluster (once)")
        fresh = self._files.cluster.with_name("cluster.new")
        shutil.rmtree(fresh, ignore_errors=True)
        if self._standby_of is None:
            self._init_cluster(fresh, programs, user=user)
        else:
            self._copy_cluster(fresh, programs, source=self._standby_of, user=user)
        fresh.rename(self._files.cluster)

    def _copy_cluster(self, fresh: Path, programs: Path, *, source: Self, user: ServerUser) -> None:
        """Make a base backup that follows its source as the standby named after its data directory."""
        address = (
            f"host={source._files.socket_dir} port={PORT} user={OWNER_ROLE} "
            f"application_name={self._files.root.name}"
        )
        copy = [str(programs / "pg_basebackup"), "--pgdata", str(fresh), "--dbname", address]
        copy += ["--write-recovery-conf", "--checkpoint", "fast", "--wal-method", "stream"]
        self._run(copy if self._durable else [*copy, "--no-sync"], user=user)

    def _init_cluster(self, fresh: Path, programs: Path, *, user: ServerUser) -> None:
        """Run initdb and create the database."""
        initdb = [str(programs / "initdb"), "--pgdata", str(fresh), "--username", OWNER_ROLE]
        initdb += ["--encoding", "UTF8"]
        if self._programs is None:  # PostgreSQL 16 has no locale of its own
            initdb += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        initdb += ["--locale", "C", "--auth-local", "trust", "--auth-host", "reject", "--no-instructions"]
        self._run(initdb if self._durable else [*initdb, "--no-sync"], user=user)
        single = [str(programs / "postgres"), "--single", "-D", str(fresh), "-c", "log_min_messages=warning"]
        single += [] if self._durable else ["-c", "fsync=off"]
        self._run([*single, "postgres"], user=user, stdin=f"CREATE DATABASE {DATABASE}\n")

    def _run(self, command: Sequence[str], *, user: ServerUser, stdin: str = "") -> None:
        """Run one of the server's programs to its end, as the server's user."""
        name = Path(command[0]).name
        try:
            result = subprocess.run(  # noqa: S603 - our own program, no shell
                tied_command(command, death_signal=signal.SIGKILL, user=_drop(user)),
                input=stdin,
                env=_environment(),
                text=True,
                capture_output=True,
                timeout=self._start_timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EmbeddedPostgresError(
                f"{name} took longer than {self._start_timeout_seconds:g} s"
            ) from None
        if result.returncode != 0:
            output = (result.stderr.strip() or result.stdout.strip()).replace("\n", "; ")
            raise EmbeddedPostgresError(f"{name} failed in {self._files.root}: {output}")

    def _launch(self, programs: Path, *, user: ServerUser) -> None:
        """Start the server and wait for it; again while a server that was killed still holds its memory.

        The kernel frees it some time after the last of its processes has ended, which is after they are gone.
        """
        give_up_at = time.monotonic() + self._memory_timeout_seconds
        while True:
            try:
                self._launch_once(programs, user=user)
            except _MemoryInUseError as error:
                if time.monotonic() > give_up_at:
                    raise EmbeddedPostgresError(
                        f"shared memory of an earlier PostgreSQL on {self._files.cluster} is still in use "
                        f"after {self._memory_timeout_seconds:g} s: {error}; end what uses it (ipcs -mp)"
                    ) from None
                self._progress("shared memory of an earlier PostgreSQL is still in use, trying again")
                time.sleep(_MEMORY_PAUSE_SECONDS)
                self._end_orphans()
            else:
                return

    def _launch_once(self, programs: Path, *, user: ServerUser) -> None:
        if self._files.log.exists() and self._files.log.stat().st_size > _LOG_KEEP_BYTES:
            self._files.log.replace(self._files.log.with_suffix(".log.1"))
        command = [str(programs / "postgres"), "-D", str(self._files.cluster)]
        settings = self._settings | {"unix_socket_directories": str(self._files.socket_dir)}
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._files.log.touch(mode=0o600)
        os.chown(self._files.log, user.uid, user.gid)
        process = _TiedProcess(
            tied_command(command, death_signal=signal.SIGINT, user=_drop(user)), log=self._files.log
        )
        deadline = time.monotonic() + self._start_timeout_seconds
        started = time.monotonic()
        next_report = started + _REPORT_INTERVAL_SECONDS
        while not is_ready(self._files):
            if process.wait(_POLL_SECONDS):
                said = _tail(self._files)
                if _MEMORY_IN_USE in said[max(0, said.rfind("FATAL")) :]:
                    raise _MemoryInUseError(said)
                raise EmbeddedPostgresError(f"PostgreSQL ended at its start: {said}")
            if time.monotonic() > deadline:
                process.send(signal.SIGKILL)
                process.wait(self._stop_timeout_seconds)
                raise EmbeddedPostgresError(
                    f"PostgreSQL was not ready after {self._start_timeout_seconds:g} s: {_tail(self._files)}"
                )
            if time.monotonic() > next_report:
                waited = time.monotonic() - started
                self._progress(f"still waiting for PostgreSQL ({waited:.0f} s): {_tail(self._files)}")
                next_report += _REPORT_INTERVAL_SECONDS
        self._process = process


class _TiedProcess:
    """One child, started from a thread that lives as long: the kernel ties the child to that thread."""

    def __init__(self, command: Sequence[str], *, log: Path) -> None:
        self._command = command
        self._log = log
        self._started = threading.Event()
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        threading.Thread(target=self._keep, name="postgres-process", daemon=True).start()
        self._started.wait()
        if self._failure is not None:
            raise EmbeddedPostgresError(f"PostgreSQL can't be started: {self._failure}") from self._failure

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def alive(self) -> bool:
        if self._process is None or self._ended.is_set():
            return False
        try:
            os.kill(self._process.pid, 0)
        except ProcessLookupError:  # it has ended, and its thread has not said so yet
            return False
        except PermissionError:
            return True
        return True

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and not self._ended.is_set():
            self._process.send_signal(number)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the child's end; True once it ended."""
        return self._ended.wait(timeout_seconds)

    def _keep(self) -> None:
        try:
            with self._log.open("ab") as log:
                process = self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(),
                    start_new_session=True,
                )
        except OSError as error:
            self._failure = error
            self._ended.set()
            return
        finally:
            self._started.set()
        process.wait()
        self._ended.set()


def _drop(user: ServerUser) -> tuple[int, int] | None:
    return (user.uid, user.gid) if user.dropped else None


def _environment() -> dict[str, str]:
    """Return a small environment: the caller's PG* variables and locale must not reach the server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _open_lock(path: Path, *, user: ServerUser) -> IO[bytes]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if user.dropped:
            os.fchown(descriptor, user.uid, user.gid)
    except OSError as error:
        raise EmbeddedPostgresError(f"can't open {path}: {error.strerror}") from None
    return os.fdopen(descriptor, "r+b")


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        raise EmbeddedPostgresError(
            f"process {pid} uses this data and belongs to another user; end it"
        ) from None


def _tail(files: ServerFiles) -> str:
    """Return the end of the server's log as one line."""
    try:
        with files.log.open("rb") as log:
            log.seek(max(0, files.log.stat().st_size - 4096))
            lines = log.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return "it has no log"
    return "; ".join(lines[-_LOG_TAIL_LINES:]) or "its log is empty"
