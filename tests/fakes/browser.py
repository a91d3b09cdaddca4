"""A real browser without a driver: Chromium's own remote interface over one web socket.

Source: chromedevtools.github.io/devtools-protocol (Page, Runtime, Target).
"""

import asyncio
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_PATIENCE_S = 20.0


class Browser:
    """One page of Chromium: go somewhere, run JavaScript in it or in a frame of it, wait."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._contexts: dict[int, str] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def go(self, address: str) -> None:
        await self._call("Page.navigate", url=address)

    async def run(self, script: str, *, frame: str | None = None) -> Any:
        """The value of a script, run in the page or in the frame whose origin is `frame`."""
        where: dict[str, Any] = {}
        if frame is not None:
            known = [number for number, origin in self._contexts.items() if origin == frame]
            where = {"contextId": known[-1]} if known else {}
        answer = await self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, **where
        )
        return answer.get("result", {}).get("value")

    async def until(self, script: str, *, frame: str | None = None) -> Any:
        """The script's value as soon as it is true of the page, which may be on its way to another."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                value = await self.run(script, frame=frame)
                if value:
                    return value
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        self._reader.cancel()
        await self._socket.close()

    async def _call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(self._answers[number], _PATIENCE_S)

    async def _read(self) -> None:
        async for message in self._socket:
            heard = json.loads(message.data)
            if "id" in heard:
                self._answers.pop(heard["id"]).set_result(heard.get("result", {}))
            elif heard["method"] == "Runtime.executionContextCreated":
                context = heard["params"]["context"]
                self._contexts[context["id"]] = context["origin"]
            elif heard["method"] == "Runtime.executionContextDestroyed":
                self._contexts.pop(heard["params"]["executionContextId"], None)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window, which ends with the block."""
    folder = tempfile.mkdtemp(prefix="networkcore-browser-")
    child = await asyncio.create_subprocess_exec(
        str(CHROMIUM),
        "--headless=new",
        "--no-sandbox",  # the tests may run as root, and visit pages of their own only
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-site-isolation-trials",
        "--disable-features=IsolateOrigins,site-per-process",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as http:
            address = await _page(http, Path(folder) / "DevToolsActivePort")
            page = Browser(await http.ws_connect(address, max_msg_size=0))
            await page._call("Page.enable")
            await page._call("Runtime.enable")
            try:
                yield page
            finally:
                await page.close()
    finally:
        child.kill()
        await child.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _page(http: aiohttp.ClientSession, port_file: Path) -> str:
    async with asyncio.timeout(_PATIENCE_S):
        while not port_file.exists() or not port_file.read_text(encoding="utf-8").strip():
            await asyncio.sleep(0.05)
        port = port_file.read_text(encoding="utf-8").split()[0]
        while True:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as response:
                pages = [one for one in await response.json(content_type=None) if one["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
            await asyncio.sleep(0.05)
