"""The revocation fetcher never reaches a private address, and bounds what it reads."""

import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from typing_extensions import override

from gateway.adapters.revocation_http import HttpRevocationFetcher
from pnc.ports import FetchError
from pnc.revocation_evidence import MAX_OCSP_BYTES


class Rebinding(AbstractResolver):
    """Resolves every name to one address, as a hostile DNS server does."""

    def __init__(self, address: str) -> None:
        self._address = address

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        kind = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        return [ResolveResult(hostname=host, host=self._address, port=port, family=kind, proto=0, flags=0)]

    @override
    async def close(self) -> None:
        return None


@pytest.fixture
async def responder() -> AsyncIterator[TestServer]:
    async def answer(request: web.Request) -> web.Response:
        match request.path:
            case "/redirect":
                raise web.HTTPFound("http://169.254.169.254/latest/meta-data")
            case "/large":
                return web.Response(body=b"x" * (MAX_OCSP_BYTES + 1))
            case "/error":
                return web.Response(status=503)
            case _:
                return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


LITERALS = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://localhost/",
    "http://10.1.2.3/",
    "http://192.168.1.1/",
    "http://172.16.0.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[fd00::1]/",
    "http://[fe80::1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://0.0.0.0/",
    "http://224.0.0.1/",
    "ftp://example.com/",
    "http://user@example.com/",
]


@pytest.mark.parametrize("url", LITERALS)
async def test_a_private_link_local_or_metadata_address_is_never_called(url: str) -> None:
    async with HttpRevocationFetcher(allow_private=False) as fetcher:
        with pytest.raises(FetchError):
            await fetcher.fetch_ocsp(url, b"request")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "fd00::1"])
async def test_a_public_name_that_resolves_to_a_private_address_is_not_called(
    responder: TestServer, address: str
) -> None:
    resolver = Rebinding(address)
    async with HttpRevocationFetcher(allow_private=False, resolver=resolver) as fetcher:
        with pytest.raises(FetchError):
            await fetcher.fetch_ocsp(f"http://ocsp.example.com:{responder.port}/", b"request")


@pytest.mark.parametrize(("path", "said"), [("/redirect", "302"), ("/large", "more than"), ("/error", "503")])
async def test_a_redirect_an_endless_body_and_an_error_are_no_answer(
    responder: TestServer, path: str, said: str
) -> None:
    async with HttpRevocationFetcher(allow_private=True) as fetcher:
        with pytest.raises(FetchError, match=said):
            await fetcher.fetch_ocsp(str(responder.make_url(path)), b"request")


async def test_an_answer_comes_back_whole(responder: TestServer) -> None:
    async with HttpRevocationFetcher(allow_private=True) as fetcher:
        assert await fetcher.fetch_ocsp(str(responder.make_url("/")), b"request") == b"request"
    with pytest.raises(FetchError, match="closed"):
        await fetcher.fetch_crl("http://example.com/crl")
