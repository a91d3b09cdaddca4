"""Secrets at rest: whoever reads a backup finds none that he could use."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from gateway.errors import ConfigurationError
from gateway.ocpi.repository import peers
from gateway.secret_sealing import SealedSecrets, seal_secrets
from gateway.webhooks.secret_cipher import SecretCipher
from pnc.revocation_checker import RevocationChecker
from pnc.service import PlugAndChargeService
from tests.fakes.api import ADMIN, Api, cdr, open_api
from tests.fakes.ocpi_edge import TOKEN_B, Edge, start_edge, stop_edge

OLD = ("2026-01", b"o" * 32)
NEW = ("2026-11", b"n" * 32)
POOL_SECRET = "a-secret-of-the-contract-pool-0123456789"
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('gateway', 'clearing', 'pnc') AND c.relkind IN ('r', 'p')
"""


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool, secrets=SecretCipher((OLD,)))
    yield started
    await stop_edge(started)


async def rows_of(pool: Pool) -> list[tuple[str, str]]:
    """Every row of every table as text; bytes are in hexadecimal there."""
    async with pool.acquire() as connection:
        names = [row[0] for row in await connection.fetch(TABLES)]
        return [
            (name, row[0])
            for name in names
            for row in await connection.fetch(f"SELECT t::text FROM {name} AS t")  # noqa: S608 - from the catalog
        ]


class NoFetcher:
    """No revocation list is fetched here."""

    async def fetch(self, request: Any) -> Any:
        raise AssertionError(f"nothing is fetched: {request}")


def decisions() -> PlugAndChargeService:
    return PlugAndChargeService(revocation_checker=RevocationChecker(fetcher=NoFetcher()))


def forms(secret: str) -> set[str]:
    """How a secret may stand in a text: as it is, in Base64, in hexadecimal."""
    raw = secret.encode()
    coded = base64.b64encode(raw).decode().rstrip("=")
    return {secret, coded, base64.urlsafe_b64encode(raw).decode().rstrip("="), raw.hex()}


async def play(api: Api, edge: Edge) -> dict[str, str]:
    """What a day leaves behind: keys, endpoints, a peer, a session with its capture. Its secrets."""
    made: dict[str, str] = {"first key": ADMIN, "pool": POOL_SECRET, "token B": TOKEN_B}
    for name, token in api.keys.items():
        made[f"key of {name}"] = token.split("_", 2)[2]
    key = await api.call(
        "POST", "/v1/parties/parking/api-keys", {"scopes": ["capture"]}, party="admin", key="k1"
    )
    made["new key"] = key.json["api_key"].split("_", 2)[2]
    hook = {"url": "https://partner.example/in", "events": ["*"]}
    endpoint = await api.call("POST", "/v1/webhook-endpoints", hook, key="w1")
    made["webhook"] = endpoint.json["secret"].removeprefix("whsec_")
    path = f"/v1/webhook-endpoints/{endpoint.json['id']}/rotate-secret"
    made["rotated webhook"] = (await api.call("POST", path, key="w2")).json["secret"].removeprefix("whsec_")
    made["token C"] = await edge.register("NL-ABC")
    invited = await api.call("POST", "/v1/ocpi/registrations", {"party": "DE-ABC"}, party="admin", key="o1")
    made |= {name: value for name, value in invited.json.items() if "token" in name and value}
    feed = {"protocol": "opcp", "secret": POOL_SECRET, "authorities": "", "new_contracts": "wait"}
    fed = await api.call("PUT", "/v1/plug-and-charge/contract-pool-feeds/parking", feed, party="admin")
    assert fed.status < 300, fed.text
    session = (await api.authorize(key="a1")).json["session"]
    body = b'{"cdr":' + cdr() + b"}"
    done = await api.call("POST", f"/v1/sessions/{session}/complete", body, key="c1")
    assert done.status == 200, done.text
    return made


async def test_no_column_of_any_table_holds_a_secret_that_could_be_used(pool: Pool, edge: Edge) -> None:
    async with open_api(pool, webhook_secrets=SecretCipher((OLD,)), plug_and_charge=decisions()) as api:
        secrets = await play(api, edge)
        await seal_secrets(pool, SecretCipher((OLD,)))
    rows = await rows_of(pool)
    assert len({name for name, _ in rows}) > 20
    found = [
        (name, table)
        for name, secret in secrets.items()
        for table, text in rows
        if any(form in text for form in forms(secret)) or _raw_form(secret) in text
    ]
    assert found == []
    assert any("[hidden]" in text for table, text in rows if table == "gateway.admin_act")


def _raw_form(secret: str) -> str:
    """A secret that is Base64 itself, as its bytes in hexadecimal."""
    try:
        return base64.b64decode(secret + "=" * (-len(secret) % 4), altchars=b"-_", validate=True).hex()
    except ValueError:
        return secret


async def test_one_pass_seals_every_kind_anew_and_needs_the_key_that_sealed(pool: Pool, edge: Edge) -> None:
    async with open_api(pool, webhook_secrets=SecretCipher((OLD,)), plug_and_charge=decisions()) as api:
        await play(api, edge)
    old, both, new = SecretCipher((OLD,)), SecretCipher((NEW, OLD)), SecretCipher((NEW,))
    with pytest.raises(ConfigurationError, match="2026-01"):
        await seal_secrets(pool, new)
    await seal_secrets(pool, old)
    written = await seal_secrets(pool, both)
    assert written == SealedSecrets(webhook_endpoints=1, contract_pool_feeds=1, ocpi_peers=1)
    assert await seal_secrets(pool, both) == SealedSecrets(
        webhook_endpoints=0, contract_pool_feeds=0, ocpi_peers=0
    )
    with pytest.raises(ConfigurationError):
        await seal_secrets(pool, old)
    async with pool.acquire() as connection:
        peer = await peers.find_peer_of_party(connection, party_id="NL-ABC")
    assert peer is not None
    assert peer.outbound is not None
    assert peer.outbound.key == "2026-11"
    assert new.decrypt(peer.id, peer.outbound).decode() == TOKEN_B
    acts = await pool.fetch("SELECT operation, after FROM gateway.admin_act WHERE after ? 'outbound_token'")
    assert {row["operation"] for row in acts} >= {"seal secrets"}
    assert all(row["after"]["outbound_token"] in {None, "[hidden]"} for row in acts)


async def test_a_token_sealed_for_one_peer_opens_for_no_other(pool: Pool, edge: Edge) -> None:
    await edge.register("NL-ABC")
    await edge.register("NL-DEF")
    async with pool.acquire() as connection:
        first = await peers.find_peer_of_party(connection, party_id="NL-ABC")
        await connection.execute(
            "UPDATE gateway.ocpi_peer AS p SET outbound_token = o.outbound_token "
            "FROM gateway.ocpi_peer AS o WHERE o.party_id = 'NL-ABC' AND p.party_id = 'NL-DEF'"
        )
        second = await peers.find_peer_of_party(connection, party_id="NL-DEF")
    assert first is not None
    assert second is not None
    assert edge.services.token_of(first) == TOKEN_B
    with pytest.raises(ConfigurationError):
        edge.services.token_of(second)


async def test_without_a_key_tokens_stay_as_they_were(pool: Pool) -> None:
    edge = await start_edge(pool)
    try:
        await edge.register("NL-ABC")
        stored: Any = await pool.fetchrow("SELECT outbound_token, encryption_key FROM gateway.ocpi_peer")
        assert (stored["outbound_token"], stored["encryption_key"]) == (TOKEN_B, None)
        await seal_secrets(pool, SecretCipher((OLD,)))
        stored = await pool.fetchrow("SELECT outbound_token, encryption_key FROM gateway.ocpi_peer")
        assert TOKEN_B not in stored["outbound_token"]
        assert stored["encryption_key"] == "2026-01"
    finally:
        await stop_edge(edge)
