"""`serve --console-processes`: people's pages are made elsewhere, and the API goes on without them."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.integration.test_process_group import KEY, Group, start

pytestmark = pytest.mark.timeout(400)  # three processes start for each test
ADMIN = {"Authorization": f"Bearer {KEY}"}
ANNA = {"email": "anna@example.com", "name": "Anna Keller", "role": "administrator"}


@pytest.fixture
async def group(database_url: str) -> AsyncIterator[Group]:
    opened = start(database_url, arguments=("--console-processes", "1"), NETWORKCORE_CONSOLE_PORT="0")
    try:
        await opened.wait(lambda: len(opened.named("gateway_process_ready")) == 2)
        yield opened
    finally:
        opened.end()


def by_kind(group: Group) -> dict[str, int]:
    """Process ids by what they serve."""
    ready = {line["process"]: line["serves"] for line in group.named("gateway_process_ready")}
    found = {}
    for pid in group.members():
        text = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2].decode()
        found[ready[int(text.partition(":")[0])]] = pid
    return found


def niceness(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[16])


async def signed_in(http: aiohttp.ClientSession, group: Group) -> None:
    """Let Anna in by her link."""
    url = group.url
    made = await http.post(f"{url}/v1/parties/platform/people", json=ANNA, headers=ADMIN)
    person = (await made.json())["id"]
    link = await http.post(f"{url}/v1/people/{person}/links", headers=ADMIN)
    path = re.sub(r"^https?://[^/]+", "", (await link.json())["url"])
    answer = await http.post(url + path, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/console")


async def test_pages_are_made_by_the_console_process_and_all_else_by_the_others(group: Group) -> None:
    assert {kind: niceness(pid) for kind, pid in by_kind(group).items()} == {"api": 0, "console": 10}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        await signed_in(http, group)
        for _ in range(5):
            async with http.get(f"{group.url}/console/operations") as page:
                text = await page.text()
                assert page.status == 200, text[:300]
                assert page.headers["X-Request-Id"].startswith("req_")
        assert ">console<" in text, "the processes at the database, with their connections"
        async with http.get(f"{group.url}/console/people?format=csv") as file:
            assert "anna@example.com" in await file.text()
        async with http.get(f"{group.url}/console/operations/live") as live:
            assert live.headers["Content-Type"].startswith("text/event-stream")
            assert (await live.content.readline()).startswith(b"retry:")
            assert (await live.content.readline()) == b"\n"
            assert (await live.content.readline()) == b"event: live\n"
        async with http.get(f"{group.url}/metrics", headers=ADMIN) as answer:
            counted = re.findall(
                r'networkcore_http_requests_total\{process="(\d)".*path="(/\w+)', await answer.text()
            )
    assert {number for number, path in counted if path == "/console"} == {"2"}
    assert {number for number, path in counted if path == "/v1"} == {"1"}


async def test_its_own_port_answers_the_console_alone(group: Group) -> None:
    port = group.named("gateway_ready")[0]["console_port"]
    async with aiohttp.ClientSession() as http:
        for path, status in (("/console/sign-in", 200), ("/healthz", 200), ("/v1/sessions", 404), ("/", 404)):
            async with http.get(f"http://127.0.0.1:{port}{path}", headers=ADMIN) as answer:
                assert answer.status == status, path


async def test_without_the_console_process_the_api_goes_on_and_it_comes_back(group: Group) -> None:
    pid = by_kind(group)["console"]
    async with aiohttp.ClientSession() as http:
        os.kill(pid, signal.SIGSTOP)  # it hangs
        waiting = asyncio.ensure_future(http.get(f"{group.url}/console/sign-in"))
        for _ in range(20):
            async with http.get(f"{group.url}/v1/parties", headers=ADMIN) as answer:
                assert answer.status == 200
        assert not waiting.done()
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60), await waiting as page:
            # taken over by the new process, or answered that nobody took it
            assert page.status in {200, 503}
            assert page.status == 200 or page.headers["Retry-After"] == "2"
        await group.wait(lambda: len(group.named("gateway_process_ready")) == 3)
        async with http.get(f"{group.url}/console/sign-in") as page:
            assert page.status == 200
    (ended,) = group.named("gateway_process_ended")
    assert ended["number"] == 2
