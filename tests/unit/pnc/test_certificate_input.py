"""What administrators hand in: PEM with remarks, PKCS #7, DER; a private key among it is refused."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from gateway.database import Pool
from pnc import trust_administration, trust_list_administration
from pnc.certificate import parse_certificate
from pnc.certificate_input import leaf_first, read_certificates
from pnc.errors import MalformedCertificateError, UnfitAuthorityError, UnfitContractError
from pnc.trust import AnchorPurpose, RevocationPolicy
from pnc.trust_list_administration import RootReport, TrustList
from sandbox.pki.hierarchy import Suite, build_pki
from tests import pki as broken
from tests import pki_encodings as encoded
from tests.fakes.pnc_market import CHANGE, EMAID, NOW, contract, open_market

PKI = build_pki(suite=Suite.P256, now=NOW)
OTHER = build_pki(suite=Suite.P256, now=NOW, name="Other")
LEAF = PKI.issue(EMAID)
CHAIN = [LEAF, PKI.second, PKI.first]


def bundle(encoding: serialization.Encoding) -> bytes:
    return pkcs7.serialize_certificates([item.certificate for item in CHAIN], encoding)


REMARKS = f"subject=/CN=leaf\r\nissuer=/CN=Sub 2\r\n{LEAF.pem.strip()}\r\n\r\nBag Attributes\r\n"
FORMS = {
    "PEM": broken.pem(*CHAIN),
    "PEM with remarks, CRLF and no final newline": REMARKS + (PKI.second.pem + PKI.first.pem).rstrip(),
    "PEM of an older label": broken.pem(*CHAIN).replace("CERTIFICATE", "X509 CERTIFICATE"),
    "PKCS #7 in PEM": bundle(serialization.Encoding.PEM).decode(),
    "PKCS #7 in base64 of DER": base64.encodebytes(bundle(serialization.Encoding.DER)).decode(),
}


@pytest.mark.parametrize("case", FORMS)
def test_every_form_holds_the_same_certificates_in_any_order(case: str) -> None:
    found = read_certificates(FORMS[case])
    assert {item.der for item in found} == {item.der for item in CHAIN}
    assert leaf_first(found)[0].der == LEAF.der


def test_base64_of_der_is_one_certificate() -> None:
    (found,) = read_certificates(base64.b64encode(PKI.root.der).decode())
    assert found.der == PKI.root.der


def keys() -> dict[str, str]:
    key = PKI.root.key

    def der(form: serialization.PrivateFormat, **how: Any) -> str:
        algorithm = how.get("algorithm", serialization.NoEncryption())
        return base64.b64encode(key.private_bytes(serialization.Encoding.DER, form, algorithm)).decode()

    return {
        "PKCS #8 in PEM": PKI.root.key_pem(),
        "PKCS #8 in PEM, encrypted": PKI.root.key_pem(b"password"),
        "a key of its own form in PEM": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode(),
        "PKCS #8 in DER": der(serialization.PrivateFormat.PKCS8),
        "a key of its own form in DER": der(serialization.PrivateFormat.TraditionalOpenSSL),
        "PKCS #8 in DER, encrypted": der(
            serialization.PrivateFormat.PKCS8, algorithm=serialization.BestAvailableEncryption(b"password")
        ),
    }


@pytest.mark.parametrize("case", keys())
@pytest.mark.parametrize("with_certificate", [False, True])
def test_a_private_key_is_refused_and_never_repeated(case: str, *, with_certificate: bool) -> None:
    key = keys()[case]
    text = PKI.root.pem + key if with_certificate and "-----" in key else key
    with pytest.raises(MalformedCertificateError, match="private key") as raised:
        read_certificates(text)
    assert all(line not in str(raised.value) for line in key.splitlines() if len(line) > 20)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
        "-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----",
        base64.b64encode(encoded.tlv(0x30, encoded.tlv(0x06, b"\x2a\x03"))).decode(),
        base64.b64encode(bundle(serialization.Encoding.DER)[:-1]).decode(),
        "\x00" * 100,
    ],
)
def test_what_holds_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(MalformedCertificateError):
        read_certificates(text)


async def test_a_root_is_trusted_from_any_form_and_a_key_beside_it_is_refused(pool: Pool) -> None:
    async with pool.acquire() as connection:

        async def add(text: str) -> str:
            return await trust_administration.add_anchor(
                connection,
                environment="live",
                certificate=text,
                purpose=AnchorPurpose.MO_ROOT,
                policy=RevocationPolicy.REQUIRE,
                policy_reason="",
                change=CHANGE,
            )

        with pytest.raises(UnfitAuthorityError, match="private key"):
            await add(PKI.root.pem + PKI.root.key_pem())
        assert await trust_administration.list_anchors(pool, environment="live") == []
        assert await add(f"subject= /CN=x\nissuer= /CN=x\n{PKI.root.pem}") == _sha256(PKI.root.der)
        pem = pkcs7.serialize_certificates([OTHER.root.certificate], serialization.Encoding.PEM).decode()
        assert await add(pem) == _sha256(OTHER.root.der)


async def test_a_contracts_chain_is_taken_in_any_form_and_order(pool: Pool) -> None:
    market = await open_market(pool, pki=PKI)
    pem = market.pki.first.pem + market.pki.second.pem + "remark\n" + market.leaf.pem
    assert (await market.put(contract(bundle=pem))).outcome == "unchanged"
    stored = await pool.fetchval("SELECT bundle FROM pnc.contract_certificate")
    assert stored == market.pki.bundle(market.leaf)
    for text, said in (
        (market.pki.first.pem, "0 certificates"),
        (pem + market.leaf.key_pem(), "private key"),
    ):
        with pytest.raises(UnfitContractError, match=said):
            await market.put(contract(bundle=text))


def _sha256(der: bytes) -> str:
    return parse_certificate(der).sha256.hex()


async def bring_in(pool: Pool, text: str, *, name: str = "pki-a", dry_run: bool = False) -> dict[str, str]:
    reports = await reported(pool, text, name=name, dry_run=dry_run)
    return {item.subject.rpartition("CN=")[2]: item.outcome.value for item in reports}


async def reported(pool: Pool, text: str, *, name: str, dry_run: bool = False) -> list[RootReport]:
    async with pool.acquire() as connection:
        return await trust_list_administration.import_trust_list(
            connection,
            TrustList(name=name, text=text, purpose=AnchorPurpose.V2G_ROOT, policy=RevocationPolicy.REQUIRE),
            environment="live",
            dry_run=dry_run,
            change=CHANGE,
        )


async def trusted(pool: Pool) -> set[str]:
    listed = await trust_administration.list_anchors(pool, environment="live")
    return {row["sha256"] for row in listed}


async def test_a_list_adds_keeps_and_removes_its_own_roots_alone(pool: Pool) -> None:
    first, second, third = (broken.root_of(PKI, name) for name in ("One", "Two", "Three"))
    assert await bring_in(pool, broken.pem(first, second)) == {"One": "added", "Two": "added"}
    assert await bring_in(pool, third.pem, name="pki-b") == {"Three": "added"}
    before = await trusted(pool)
    fourth = broken.root_of(PKI, "Four")
    wanted = {"Two": "kept", "Three": "kept", "Four": "added", "One": "removed"}
    text = broken.pem(second, third, fourth)
    assert await bring_in(pool, text, dry_run=True) == wanted
    assert await trusted(pool) == before
    assert await bring_in(pool, text) == wanted
    assert await trusted(pool) == {_sha256(item.der) for item in (second, third, fourth)}
    # The list no longer holds Three, which another one brought in: it stays.
    assert await bring_in(pool, broken.pem(second, fourth)) == {"Two": "kept", "Four": "kept"}
    history = await trust_administration.load_history(pool, environment="live")
    assert [row["kind"] for row in history].count("anchor_added") == 4
    assert history[-1]["detail"] == "list pki-a"


async def test_a_root_that_may_not_be_trusted_is_reported_and_the_others_are_added(pool: Pool) -> None:
    old = broken.root_of(PKI, "Old", not_after=NOW - broken.ONE_DAY)
    unreadable = broken.raw_pem(b"\x30\x00")
    good = broken.root_of(PKI, "Good")
    reports = await reported(pool, old.pem + unreadable + good.pem + PKI.first.pem, name="pki-a")
    assert [item.outcome.value for item in reports] == ["added", "rejected", "rejected", "rejected"]
    assert all(item.detail for item in reports[1:])
    assert await trusted(pool) == {_sha256(good.der)}


async def test_an_empty_or_foreign_list_retires_nothing(pool: Pool) -> None:
    await bring_in(pool, broken.root_of(PKI, "One").pem)
    before = await trusted(pool)
    for text in ("", PKI.first.pem, broken.root_of(PKI, "Two").pem + PKI.root.key_pem()):
        with pytest.raises(UnfitAuthorityError):
            await bring_in(pool, text)
    with pytest.raises(UnfitAuthorityError, match="name"):
        await bring_in(pool, PKI.root.pem, name="No Name")
    assert await trusted(pool) == before
