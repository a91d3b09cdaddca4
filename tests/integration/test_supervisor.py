"""The supervisor over real processes: ready means ready, the fallen rise, and nothing outlives its parent."""

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
from pathlib import Path

import asyncpg
import pytest

from sandbox.errors import SupervisorError
from sandbox.postgres.embedded import EmbeddedPostgres
from sandbox.processes.supervisor import AliveReady, ChildSpec, HttpReady, LineReady, Supervisor

ROOT = Path(__file__).parents[2]
STAYS = "import time; time.sleep(60)"
ANNOUNCES = """
    import json, os, time
    print("hello")
    print(json.dumps({"pid": os.getpid()}), flush=True)
    time.sleep(60)
"""
DEAF = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("{}", flush=True)
    time.sleep(60)
"""
SERVES = """
    import sys, time
    from http.server import BaseHTTPRequestHandler, HTTPServer
    began = time.monotonic()
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if time.monotonic() - began > 0.5 else 503)
            self.end_headers()
        def log_message(self, *arguments): pass
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def python(name: str, source: str, *arguments: str, **rest: object) -> ChildSpec:
    command = (sys.executable, "-c", textwrap.dedent(source))
    return ChildSpec(name=name, arguments=arguments, command=command, **rest)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: object, seconds: float = 10) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_child_is_ready_when_its_output_reports_it_and_ended_after_the_block(tmp_path: Path) -> None:
    async with Supervisor(log_dir=tmp_path) as supervisor:
        child = await supervisor.start(python("one", ANNOUNCES, readiness=LineReady()))
        assert child.announcement == {"pid": child.pid}
        assert supervisor.pids == {"one": child.pid}
        pid = child.pid
    assert pid is not None
    assert not alive(pid)


async def test_a_child_is_ready_when_its_address_answers_200(tmp_path: Path, unused_tcp_port: int) -> None:
    async with Supervisor(log_dir=tmp_path) as supervisor:
        url = f"http://127.0.0.1:{unused_tcp_port}/readyz"
        started = time.monotonic()
        await supervisor.start(python("web", SERVES, str(unused_tcp_port), readiness=HttpReady(url=url)))
        assert time.monotonic() - started >= 0.5


async def test_a_killed_child_is_started_again_with_the_same_arguments(tmp_path: Path) -> None:
    events: list[str] = []
    async with Supervisor(log_dir=tmp_path, on_event=events.append) as supervisor:
        child = await supervisor.start(python("one", ANNOUNCES, readiness=LineReady()))
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.restarts == 1)
        assert child.pid not in {None, first}
        assert child.announcement == {"pid": child.pid}
    assert events == ["one ended with status -9, starting it again", "one runs again"]


async def test_a_child_that_cannot_start_is_rejected_with_its_last_output(tmp_path: Path) -> None:
    async with Supervisor(log_dir=tmp_path) as supervisor:
        with pytest.raises(SupervisorError, match="one ended at its start: no such setting"):
            await supervisor.start(
                python("one", "import sys; sys.exit('no such setting')", readiness=LineReady())
            )
        assert supervisor.pids == {}
        with pytest.raises(SupervisorError, match=r"two was not ready after 0\.2 s"):
            await supervisor.start(python("two", STAYS, readiness=LineReady(), ready_timeout_seconds=0.2))
        assert supervisor.pids == {}


async def hold_until_lost(tmp_path: Path, events: list[str]) -> None:
    async with Supervisor(log_dir=tmp_path, on_event=events.append) as supervisor:
        await supervisor.start(python("other", STAYS))
        source = "import sys, time; time.sleep(0.1); sys.exit('out of luck')"
        await supervisor.start(python("one", source, readiness=AliveReady(seconds=0.01)))
        await asyncio.sleep(60)


async def test_a_child_that_keeps_dying_ends_the_block_with_its_last_output(tmp_path: Path) -> None:
    events: list[str] = []
    with pytest.raises(SupervisorError, match=r"one keeps dying: .*out of luck"):
        await hold_until_lost(tmp_path, events)
    assert sum("starting it again" in event for event in events) == 6


async def test_a_deaf_child_is_killed_past_its_time(tmp_path: Path) -> None:
    async with Supervisor(log_dir=tmp_path) as supervisor:
        child = await supervisor.start(python("deaf", DEAF, readiness=LineReady(), stop_timeout_seconds=0.3))
        pid = child.pid
        await supervisor.stop("deaf")
        assert pid is not None
        assert not alive(pid)
        await asyncio.sleep(0.2)
        assert supervisor.pids == {}


async def hold_and_fail(tmp_path: Path) -> None:
    async with Supervisor(log_dir=tmp_path) as supervisor:
        await supervisor.start(python("one", STAYS))
        raise KeyError("of the body")


async def test_an_error_of_the_block_passes_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="of the body"):
        await hold_and_fail(tmp_path)


async def test_a_canceled_block_stops_its_children(tmp_path: Path) -> None:
    pids: list[int] = []

    async def hold() -> None:
        async with Supervisor(log_dir=tmp_path) as supervisor:
            child = await supervisor.start(python("one", STAYS))
            assert child.pid is not None
            pids.append(child.pid)
            await asyncio.sleep(60)

    task = asyncio.create_task(hold())
    await until(lambda: pids)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not alive(pids[0])


async def test_children_do_not_inherit_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETWORKCORE_PORT", "1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://real/money")
    monkeypatch.setenv("PGHOST", "real")
    source = "import json, os, time; print(json.dumps(dict(os.environ)), flush=True); time.sleep(60)"
    async with Supervisor(log_dir=tmp_path) as supervisor:
        spec = python("one", source, readiness=LineReady(), environment={"NETWORKCORE_HOST": "::1"})
        seen = (await supervisor.start(spec)).announcement
    assert seen["NETWORKCORE_HOST"] == "::1"
    assert not {"NETWORKCORE_PORT", "DATABASE_URL", "PGHOST"} & set(seen)


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    source = f"""
        import asyncio, sys
        from pathlib import Path
        from sandbox.processes.supervisor import ChildSpec, Supervisor
        async def main():
            async with Supervisor(log_dir=Path({str(tmp_path)!r})) as supervisor:
                command = (sys.executable, "-c", {STAYS!r})
                child = await supervisor.start(ChildSpec(name="one", arguments=(), command=command))
                print(child.pid, flush=True)
                await asyncio.sleep(60)
        asyncio.run(main())
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
        deadline = time.monotonic() + 5
        while alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.communicate()


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="networkcore-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def test_postgres_is_started_again_and_stops_with_the_block(place: Path) -> None:
    events: list[str] = []
    server = EmbeddedPostgres(place / "data", durable=False)
    async with Supervisor(log_dir=place / "logs", on_event=events.append) as supervisor:
        await supervisor.start_server(server)
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: "PostgreSQL runs again" in events)
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    assert not server.running


async def test_a_slow_start_is_reported_with_what_is_waited_for(tmp_path: Path) -> None:
    events: list[str] = []
    source = "import time; time.sleep(0.7); print('{}', flush=True); time.sleep(60)"
    async with Supervisor(log_dir=tmp_path, on_event=events.append) as supervisor:
        await supervisor.start(python("slow", source, readiness=LineReady(), report_interval_seconds=0.2))
    assert len(events) >= 2
    assert all(event.startswith("still waiting for slow (") for event in events)
    assert all(event.endswith("its ready line") for event in events)
