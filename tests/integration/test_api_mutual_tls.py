"""Mutual TLS over a real socket: a bound party's key works only with its own certificate's key."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.api.server import build_api
from gateway.api.tls import server_context
from gateway.config import load_settings
from gateway.database import Pool
from gateway.errors import ConfigurationError
from tests.fakes.api import ADMIN, Api, open_api

_NOW = datetime.now(UTC)
_PEM = serialization.Encoding.PEM


@dataclass
class Made:
    """A certificate with its key, and the files of both."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    certificate_path: Path
    key_path: Path

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(_PEM).decode()


def make(folder: Path, name: str, *, issuer: Made | None = None, days: int = 30) -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - timedelta(days=3650))
        .not_valid_after(_NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signer = issuer.key if issuer else key
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    certificate = builder.sign(signer, hashes.SHA256())
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(_PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain))
    return Made(certificate=certificate, key=key, certificate_path=paths[0], key_path=paths[1])


@dataclass
class Listener:
    api: Api
    url: str
    server_ca: Made
    client_ca: Made

    async def status(self, *, key: str, proof: Made | None) -> int:
        """The status of a call that needs no scope, over a connection of its own."""
        context = ssl.create_default_context(cafile=str(self.server_ca.certificate_path))
        if proof is not None:
            context.load_cert_chain(proof.certificate_path, proof.key_path)
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.get(f"{self.url}/v1/events", headers=headers) as response,
        ):
            return response.status

    async def bind(self, party: str, pem: str) -> int:
        path = f"/v1/parties/{party}/client-certificates"
        answer = await self.api.call("POST", path, {"pem": pem}, party="admin")
        # Another process learns of it within seconds; this one is made to look again.
        self.api.services.keys._cache.clear()
        return answer.status


@pytest.fixture
async def listener(pool: Pool, tmp_path: Path) -> AsyncIterator[Listener]:
    server_ca, client_ca = make(tmp_path, "server-ca"), make(tmp_path, "client-ca")
    server = make(tmp_path, "localhost", issuer=server_ca)
    settings = load_settings(
        {
            "DATABASE_URL": "postgresql://nobody@localhost/none",
            "NETWORKCORE_PSP_API_KEY": "sk_test_none_of_any",
            "NETWORKCORE_PSP_WEBHOOK_SECRET": "whsec_none_of_any",
            "NETWORKCORE_TLS_CERTIFICATE_PATH": str(server.certificate_path),
            "NETWORKCORE_TLS_KEY_PATH": str(server.key_path),
            "NETWORKCORE_TLS_CLIENT_CA_PATH": str(client_ca.certificate_path),
        }
    )
    assert settings.base_url.startswith("https://")
    async with open_api(pool) as api:
        api.clock.wall = _NOW  # TLS judges certificates by the real time
        runner = web.AppRunner(build_api(api.services), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(settings))
        await site.start()
        (address,) = runner.addresses
        yield Listener(
            api=api, url=f"https://localhost:{address[1]}", server_ca=server_ca, client_ca=client_ca
        )
        await runner.cleanup()


async def test_a_bound_partys_key_needs_its_certificate_and_others_need_none(
    listener: Listener, tmp_path: Path
) -> None:
    mine, theirs = (make(tmp_path, name, issuer=listener.client_ca) for name in ("mine", "theirs"))
    key = listener.api.keys["DE-ABC"]
    assert await listener.status(key=key, proof=None) == 200
    assert await listener.bind("DE-ABC", mine.pem) == 201
    assert await listener.bind("parking", theirs.pem) == 201
    assert await listener.status(key=key, proof=None) == 401  # a stolen key is worth nothing
    assert await listener.status(key=key, proof=theirs) == 401  # nor with another party's certificate
    assert await listener.status(key=key, proof=mine) == 200
    assert await listener.status(key=listener.api.keys["superapp"], proof=None) == 200
    assert await listener.status(key=listener.api.keys["superapp"], proof=mine) == 200
    assert await listener.status(key=ADMIN, proof=None) == 200
    # Without TLS nothing is proved, whatever a header claims.
    forged = {"X-Client-Cert": mine.pem.replace("\n", " ")}
    plain = await listener.api.call("GET", "/v1/events", party="DE-ABC", headers=forged)
    assert plain.status == 401


async def test_a_certificate_is_renewed_beside_the_old_one_and_retired(
    listener: Listener, tmp_path: Path
) -> None:
    old, new = (make(tmp_path, name, issuer=listener.client_ca) for name in ("old", "new"))
    key = listener.api.keys["DE-ABC"]
    assert await listener.bind("DE-ABC", old.pem) == 201
    assert await listener.bind("DE-ABC", new.pem) == 201
    assert [await listener.status(key=key, proof=proof) for proof in (old, new)] == [200, 200]
    path = "/v1/parties/DE-ABC/client-certificates"
    found = (await listener.api.call("GET", path, party="admin")).json["data"]
    listed = sorted(found, key=lambda item: item["subject"], reverse=True)  # both were bound at one instant
    assert [item["subject"] for item in listed] == ["CN=old", "CN=new"]
    gone = await listener.api.call("DELETE", f"{path}/{listed[0]['sha256']}", party="admin")
    assert gone.status == 204
    listener.api.services.keys._cache.clear()
    assert [await listener.status(key=key, proof=proof) for proof in (old, new)] == [401, 200]
    assert (await listener.api.call("DELETE", f"{path}/{listed[0]['sha256']}", party="admin")).status == 404


async def test_a_certificate_of_a_foreign_authority_or_out_of_date_ends_the_handshake(
    listener: Listener, tmp_path: Path
) -> None:
    foreign = make(tmp_path, "foreign", issuer=make(tmp_path, "foreign-ca"))
    late = make(tmp_path, "late", issuer=listener.client_ca, days=-3000)
    for proof in (foreign, late):
        with pytest.raises(aiohttp.ClientError):
            await listener.status(key=listener.api.keys["superapp"], proof=proof)
    assert await listener.bind("DE-ABC", late.pem) == 400
    mine = make(tmp_path, "mine", issuer=listener.client_ca)
    assert await listener.bind("nobody", mine.pem) == 404
    assert await listener.bind("DE-ABC", mine.pem) == 201
    assert await listener.bind("parking", mine.pem) == 409
    for wrong in ("x" * 100, mine.pem + mine.pem, listener.server_ca.key_path.read_text()):
        assert await listener.bind("DE-ABC", wrong) == 400


def test_tls_settings_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    first, second = make(tmp_path, "first"), make(tmp_path, "second")
    base = {
        "DATABASE_URL": "postgresql://nobody@localhost/none",
        "NETWORKCORE_PSP_API_KEY": "sk_test_none_of_any",
        "NETWORKCORE_PSP_WEBHOOK_SECRET": "whsec_none_of_any",
    }
    assert server_context(load_settings(base)) is None
    alone = base | {"NETWORKCORE_TLS_CERTIFICATE_PATH": str(first.certificate_path)}
    with pytest.raises(ConfigurationError, match="go together"):
        load_settings(alone)
    with pytest.raises(ConfigurationError, match="CLIENT_CA"):
        load_settings(base | {"NETWORKCORE_TLS_CLIENT_CA_PATH": str(first.certificate_path)})
    for key in (second.key_path, tmp_path / "absent"):
        with pytest.raises(ConfigurationError, match="TLS files"):
            server_context(load_settings(alone | {"NETWORKCORE_TLS_KEY_PATH": str(key)}))
