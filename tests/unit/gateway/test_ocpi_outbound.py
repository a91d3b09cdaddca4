"""Addresses that others give us: what is called, and what is not."""

import ipaddress
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from gateway import outbound
from gateway.outbound import (
    AnswerTooLargeError,
    ForbiddenAddressError,
    RedirectRejectedError,
    check_url,
    is_public,
    read_bounded,
)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https:///path",
        "example.com",
        "",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::ffff:10.0.0.1]/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://localhost/",
        "https://a.localhost/",
        "https://100.64.0.1/",
        "https://192.0.2.1/",
        "https://224.0.0.1/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:7f00:1::]/",
        "https://exa mple.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://" + "a" * 2100,
    ],
)
def test_addresses_that_are_not_public_web_addresses_are_rejected(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "url", ["https://example.com/x?y=1", "https://8.8.8.8:8443/", "https://[2a00:1450:4001::1]/"]
)
def test_public_web_addresses_pass(url: str) -> None:
    assert check_url(url, allow_private=False) == url


def test_private_addresses_pass_where_they_are_allowed() -> None:
    assert check_url("http://127.0.0.1:8080/versions", allow_private=True)
    with pytest.raises(ForbiddenAddressError):
        check_url("ftp://127.0.0.1/", allow_private=True)


@given(st.ip_addresses(v=4))
def test_an_address_embedded_in_ipv6_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    translated = ipaddress.IPv6Address((0x64FF9B << 96) | int(address))
    assert is_public(mapped) == is_public(translated) == is_public(address)


# One address of each row of IANA's registries of special-purpose addresses (IPv4 and IPv6) that is not
# globally reachable, or that leads elsewhere than it says.
@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.1", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1", "192.0.0.1"),
        *("192.0.0.8", "192.0.0.170", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1"),
        *("192.168.0.1", "192.175.48.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"),
        *("255.255.255.255", "224.0.0.1", "::", "::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"),
        *("64:ff9b:1::1", "100::1", "100:0:0:1::1", "2001::1", "2001:1::1", "2001:2::1", "2001:3::1"),
        *("2001:4:112::1", "2001:10::1", "2001:20::1", "2001:30::1", "2001:db8::1", "2002:a00:1::1"),
        *("2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1", "4000::1"),
    ],
)
def test_every_special_range_is_rejected(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "192.88.98.1", "2a00:1450::1", "2606:4700::1", "2002:808:808::1"]
)
def test_addresses_beside_the_special_ranges_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


class Rebinding(AbstractResolver):
    """A name server that leads a public name to this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async def large(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 100_000)

    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/")

    application = web.Application()
    application.router.add_get("/large", large)
    application.router.add_get("/moved", moved)
    running = TestServer(application)
    await running.start_server()
    yield running
    await running.close()


async def test_a_public_name_that_leads_to_a_private_address_is_not_connected_to(server: TestServer) -> None:
    async with outbound.session(allow_private=False, resolver=Rebinding()) as http:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await http.get(f"http://innocent.example:{server.port}/large")
        assert "not a public address" in str(caught.value)


async def test_a_literal_private_address_is_not_connected_to(server: TestServer) -> None:
    async with outbound.session(allow_private=False) as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(f"http://127.0.0.1:{server.port}/large")


async def test_redirects_are_not_followed(server: TestServer) -> None:
    async with outbound.session(allow_private=True) as http:
        with pytest.raises(RedirectRejectedError):
            await http.get(f"http://127.0.0.1:{server.port}/moved")
        async with http.get(f"http://127.0.0.1:{server.port}/moved", allow_redirects=False) as response:
            assert response.status == 302


async def test_answers_are_read_up_to_a_limit(server: TestServer) -> None:
    async with outbound.session(allow_private=True) as http:
        async with http.get(f"http://127.0.0.1:{server.port}/large") as response:
            assert len(await read_bounded(response)) == 100_000
        async with http.get(f"http://127.0.0.1:{server.port}/large") as response:
            with pytest.raises(AnswerTooLargeError):
                await read_bounded(response, limit=99_999)


def test_the_error_is_of_the_connection_kind_too() -> None:
    error: Any = ForbiddenAddressError("no")
    assert isinstance(error, OSError)
