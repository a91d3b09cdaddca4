"""The program one release back and this one side by side on one database, under requests."""

import asyncio
import json
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.migrations import PACKAGES, compare_schema, migrate
from tests.crash.processes import ROOT, failures, free_port, running, settings, wait_for
from tests.crash.test_capture_killed import charge, settled

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(500)]
SESSIONS_BEFORE, SESSIONS_BESIDE = 4, 8
MIGRATIONS = [f"{package}/sql/migrations" for package in PACKAGES]


def git(*arguments: str) -> bytes:
    """What git prints; skips where this is no checkout with its history."""
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the history of the program is not here: {done.stderr.decode().strip()}")
    return done.stdout


def migrations_of(commit: str) -> set[tuple[str, str]]:
    """Package and file name of each migration in a commit."""
    paths = git("ls-tree", "-r", "--name-only", commit, "--", *MIGRATIONS).decode().split()
    return {(path.partition("/")[0], path.rpartition("/")[2]) for path in paths}


def is_followed(old: set[tuple[str, str]], new: set[tuple[str, str]]) -> bool:
    """Whether each package's new migrations come after its old ones, and there are some.

    Before the first release a number that was kept for other work may have come later: that is no upgrade.
    """
    last = {package: max(name for of, name in old if of == package) for package, _ in old}
    added = new - old
    return old < new and all(name > last.get(package, "") for package, name in added)


def release_before() -> str:
    """The commit of the last release; before the first, the latest one that lacks a migration of this."""
    tags = git("tag", "--list", "v[0-9]*", "--sort=-creatordate", "--no-contains", "HEAD").decode().split()
    if tags:
        return tags[0]
    present = migrations_of("HEAD")
    changes = git("log", "--first-parent", "-m", "--format=%H", "-30", "--", *MIGRATIONS).decode().split()
    for commit in dict.fromkeys(changes):
        before = f"{commit}^1"
        if is_followed(migrations_of(before), present):
            return git("rev-parse", "--verify", before).decode().strip()
    pytest.skip("no commit of this checkout's history lacks a migration")


def test_only_a_schema_that_the_present_one_follows_is_one_release_back() -> None:
    present = {("gateway", "0001_a.sql"), ("gateway", "0002_b.sql"), ("clearing", "0001_c.sql")}
    assert is_followed(present - {("gateway", "0002_b.sql")}, present)
    assert not is_followed(present - {("gateway", "0001_a.sql")}, present)
    assert not is_followed(present, present)
    assert not is_followed(present | {("gateway", "0003_d.sql")}, present)


def prepared_before(line: dict[str, Any]) -> bool:
    """Whether a statement was prepared before its table had a new column.

    PostgreSQL rejects it once for each connection where it reads all columns; what it was part of is done
    again, which the sessions and the books show.
    """
    kinds = {one["exc_type"] for one in line.get("exception", []) if isinstance(one, dict)}
    return kinds == {"InvalidCachedStatementError"}


@pytest.fixture(scope="module")
def old_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release-before")
    archive = git("archive", "--format=tar", release_before(), "--", *PACKAGES, "sandbox")
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


async def test_the_release_before_and_this_one_serve_one_database_side_by_side(
    old_program: Path, tmp_path: Path
) -> None:
    port = free_port()
    new_logs = tmp_path / "new-gateway.log", tmp_path / "new-worker.log"
    state_dir = tmp_path / "state"
    with running(
        old_program, "dev", "--json", "--state-dir", str(state_dir), log=tmp_path / "old.log"
    ) as old:
        assert old.stdout is not None
        line = await asyncio.to_thread(old.stdout.readline)
        assert line, (tmp_path / "old.log").read_text(encoding="utf-8")
        stack = json.loads(line)
        before = await compare_schema(stack["database_url"])
        assert before.pending, "the program before has every migration of this one"
        platform = f"Bearer {stack['admin_api_key']}"
        headers = {"Authorization": f"Bearer {stack['api_keys']['parkingapp']}"}
        async with aiohttp.ClientSession(stack["base_url"], headers=headers) as session:
            charged = [await charge(session, f"before-{turn}", platform) for turn in range(SESSIONS_BEFORE)]

            async def during() -> list[str]:
                return [await charge(session, f"during-{turn}", platform) for turn in range(SESSIONS_BEFORE)]

            meanwhile, applied = await asyncio.gather(during(), migrate(stack["database_url"]))
            assert applied == list(before.pending)
            environment = settings(stack, state_dir / "dev", port)
            url = f"http://127.0.0.1:{port}"
            with (
                running(ROOT, "serve", log=new_logs[0], environment=environment),
                running(ROOT, "work", log=new_logs[1], environment=environment),
            ):
                await wait_for(url)
                async with aiohttp.ClientSession(url, headers=headers) as beside:
                    both = (session, beside)
                    charged += meanwhile
                    charged += [
                        await charge(both[turn % 2], f"beside-{turn}", platform)
                        for turn in range(SESSIONS_BESIDE)
                    ]
                    shown = [
                        await settled(both[turn % 2], identifier) for turn, identifier in enumerate(charged)
                    ]
                    async with beside.get(
                        "/v1/summary?audit=true", headers={"Authorization": platform}
                    ) as response:
                        books = (await response.json())["audit"]
    assert {one["capture"]["amount"] for one in shown} == {918}
    assert books["findings"] == []
    old_logs = sorted((state_dir / "dev" / "logs").glob("[gw]*.log"))
    assert failures(*new_logs) == []
    assert [line for line in failures(*old_logs) if not prepared_before(line)] == []
