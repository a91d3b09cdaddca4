"""Forms on contract authorities, cross certificates and CRLs: shown, confirmed, recorded, and by whom."""

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from aiohttp import FormData
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_der_x509_crl

from gateway.console.views.trust_forms import MOST_CRL_BYTES
from gateway.database import Pool
from pnc.certificate_input import read_certificates
from pnc.contract_authority import key_sha256
from sandbox.pki.hierarchy import ContractPki, Issued, Suite, build_pki, cross_sign, revocation_list
from tests.fakes.api import START, Answer
from tests.fakes.console import ConsoleOfTest, Visitor, open_console, paid_session
from tests.fakes.pnc_authorize import ROOT
from tests.fakes.pnc_market import EMAID

ROOTS, CROSS = "/console/plug-and-charge/roots", "/console/plug-and-charge/cross-certificates"
REVOCATION = "/console/plug-and-charge/revocation"


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        await paid_session(opened.api)
        yield opened


async def trust(console: ConsoleOfTest, pki: ContractPki, kind: str = "v2g_root") -> str:
    body = {"environment": "sandbox", "kind": kind, "pem": pki.root.pem, "policy": "require"}
    added = await console.api.call("POST", f"{ROOT}/trust-anchors", body, party="admin")
    assert added.status == 201, added.text
    return str(added.json["sha256"])


async def listed(console: ConsoleOfTest, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await console.api.call("GET", f"{ROOT}/{path}", party="admin")).json[
        "data"
    ]
    return found


async def acts_of(console: ConsoleOfTest) -> list[tuple[str, int]]:
    rows = await console.api.services.pool.fetch(
        "SELECT operation, status FROM gateway.person_act WHERE operation <> 'signIn' ORDER BY acted_at, id"
    )
    return [(row["operation"], row["status"]) for row in rows]


async def administrative_acts(console: ConsoleOfTest, principal: str) -> set[str]:
    found = await console.api.call(
        "GET", f"/v1/administrative-acts?limit=100&principal={principal}", party="admin"
    )
    return {one["operation"] for one in found.json["data"]}


async def with_file(visitor: Visitor, path: str, content: bytes | None, **fields: str) -> Answer:
    form = FormData({"csrf": await visitor.csrf(), **fields})
    if content is not None:
        form.add_field("file", content, filename="list.crl", content_type="application/pkix-crl")
    else:
        form.add_field("file", b"", filename="", content_type="application/octet-stream")
    response = await visitor.session.post(visitor.base + path, data=form, allow_redirects=False)
    return Answer(status=response.status, headers=response.headers, content=await response.read())


def says(page: Answer, *texts: str) -> None:
    """Each text is on the page; a failing `in` would show the whole page, and slowly."""
    missing = [one for one in texts if one not in page.text]
    assert missing == [], (page.status, re.findall(r'role="alert">(.*?)</p>', page.text))


def certificate_of(issued: Issued) -> Any:
    (found,) = read_certificates(issued.pem)
    return found


async def test_an_authority_is_shown_before_it_may_issue_and_its_right_is_removed(
    console: ConsoleOfTest,
) -> None:
    pki = build_pki(suite=Suite.P256, now=START, name="A V2G Operator")
    anchor = await trust(console, pki)
    root, place = f"{ROOTS}/{anchor}", f"{ROOTS}/{anchor}/authorities"
    chief = await console.signed_in(role="administrator")
    says(await chief.get(root), "only authorities whose certificate says MO")
    key = key_sha256(certificate_of(pki.first)).hex()
    form = {"authority": pki.first.pem, "reason": "as agreed"}
    shown = await chief.post(place, form | {"once": "a"})
    assert shown.status == 200
    says(shown, key, certificate_of(pki.first).sha256.hex(), "as agreed", anchor)
    assert await listed(console, "contract-authorities") == [], "nothing is allowed before somebody confirms"
    swapped = {"authority": pki.second.pem, "confirmed": "yes", "key_sha256": key, "once": "b"}
    says(await chief.post(place, swapped), "not what was shown")
    done = await chief.post(place, form | {"confirmed": "yes", "key_sha256": key, "once": "c"})
    assert done.headers["Location"] == f"{root}?notice=done"
    (named,) = await listed(console, "contract-authorities")
    assert (named["anchor"], named["key_sha256"]) == (anchor, key)
    says(await chief.get(root), named["subject"], f'data-copy="{key}"', 'value="remove"')
    says(await chief.post(place, form | {"once": "d"}), "named below this root already")
    by_hash = await chief.post(place, {"authority": "ab" * 32, "once": "e"})
    says(by_hash, "not given: compare the hash", "ab" * 32)
    for wrong, said in (("x" * 80, "DER"), (pki.issue(EMAID).pem, "authority"), ("A" * 32_001, "at most")):
        answer = await chief.post(place, {"authority": wrong, "reason": "kept text", "once": "f"})
        assert answer.status == 400
        says(answer, said, 'role="alert"', 'value="kept text"')
    assert (await chief.post(f"{ROOTS}/{'0' * 64}/authorities", form)).status == 404
    gone = await chief.post(
        place, {"act": "remove", "key_sha256": key.upper(), "reason": "ended", "once": "g"}
    )
    assert gone.headers["Location"] == f"{root}?notice=done", gone.text[-500:]
    assert await listed(console, "contract-authorities") == []
    again = await chief.post(place, {"act": "remove", "key_sha256": key, "reason": "ended", "once": "h"})
    assert again.status == 404
    says(again, "is named below the root")
    history = [(one["kind"], one["reason"]) for one in await listed(console, "trust-history")]
    assert history[-2:] == [
        ("contract_authority_allowed", "as agreed"),
        ("contract_authority_removed", "ended"),
    ]
    assert await acts_of(console) == [
        ("allowContractAuthority", 201),
        ("removeContractAuthority", 204),
        ("removeContractAuthority", 404),
    ]
    assert chief.person is not None
    acts = await administrative_acts(console, chief.person.public_id)
    assert {"allowContractAuthority", "removeContractAuthority"} <= acts


async def test_a_cross_certificate_is_shown_used_and_retired(console: ConsoleOfTest) -> None:
    pki = build_pki(suite=Suite.P256, now=START, name="A Trusted Operator")
    other = build_pki(suite=Suite.P256, now=START, name="Another Operator")
    anchor = await trust(console, pki, "mo_root")
    bridge = cross_sign(other.root, by=pki.root, now=START)
    digest = certificate_of(bridge).sha256.hex()
    chief = await console.signed_in(role="administrator")
    says(await chief.get(CROSS), "No cross certificate")
    form = {"pem": bridge.pem, "reason": "bridge to another"}
    shown = await chief.post(CROSS, form | {"once": "a"})
    assert shown.status == 200
    says(shown, digest, "bridge to another", f"{ROOTS}/{anchor}")
    assert await listed(console, "cross-certificates") == []
    stranger = cross_sign(pki.root, by=other.root, now=START)
    says(await chief.post(CROSS, {"pem": stranger.pem, "once": "b"}), "no trusted root has the issuer")
    swapped = {"pem": stranger.pem, "confirmed": "yes", "sha256": digest, "once": "c"}
    says(await chief.post(CROSS, swapped), "not what was shown")
    done = await chief.post(CROSS, form | {"confirmed": "yes", "sha256": digest, "once": "d"})
    assert done.headers["Location"] == f"{CROSS}?notice=done"
    (used,) = await listed(console, "cross-certificates")
    assert used["sha256"] == digest
    says(await chief.post(CROSS, form | {"once": "e"}), "in use already")
    for wrong, said in (
        (pki.root.pem, "self-issued"),
        ("", "certificate"),
        (bridge.pem + stranger.pem, "expected one"),
    ):
        answer = await chief.post(CROSS, {"pem": wrong, "reason": "kept text", "once": "f"})
        assert answer.status == 400
        says(answer, said, 'role="alert"', 'value="kept text"')
    retired = await chief.post(f"{CROSS}/{digest}", {"reason": "key rolled", "once": "g"})
    assert retired.headers["Location"] == f"{CROSS}?notice=done"
    assert await listed(console, "cross-certificates") == []
    missing = await chief.post(f"{CROSS}/{digest}", {"reason": "again", "once": "h"})
    assert missing.status == 404
    says(missing, "no cross certificate", 'role="alert"')
    says(await chief.post(CROSS, form | {"once": "i"}), "in use before and retired")
    file = await chief.get(f"{CROSS}?format=csv")
    (row,) = csv.DictReader(io.StringIO(file.content.decode("utf-8-sig")))
    assert (row["sha256"], bool(row["retired_at"])) == (digest, True)
    operations = [operation for operation, _ in await acts_of(console)]
    assert operations == ["addCrossCertificate", "retireCrossCertificate", "retireCrossCertificate"]
    assert chief.person is not None
    acts = await administrative_acts(console, chief.person.public_id)
    assert {"addCrossCertificate", "retireCrossCertificate"} <= acts


async def test_a_list_is_uploaded_from_a_file_and_revokes_what_it_names(console: ConsoleOfTest) -> None:
    pki = build_pki(suite=Suite.P256, now=START, name="A Mobility Operator")
    await trust(console, pki, "mo_root")
    leaf = pki.issue(EMAID)
    now = console.api.clock.now()
    der = revocation_list(
        pki.second, now=now - timedelta(minutes=5), serials=[leaf.certificate.serial_number]
    )
    chief = await console.signed_in(role="administrator")
    says(await chief.get(REVOCATION), 'name="file"', 'enctype="multipart/form-data"')
    place, authority = f"{REVOCATION}/lists", pki.second.pem
    given = {"authority": authority, "reason": "responder away"}
    shown = await with_file(chief, place, der, **given)
    assert shown.status == 200
    says(shown, sha256(der).hexdigest(), f"{leaf.certificate.serial_number:x}", "responder away")
    kept = re.search(r'name="crl" value="([^"]+)"', shown.text)
    assert kept is not None

    async def lists() -> int:
        counted: int = await console.api.services.pool.fetchval("SELECT count(*) FROM pnc.revocation_list")
        return counted

    assert await lists() == 0, "nothing is stored before somebody confirms"
    second = {"confirmed": "yes", "crl": kept[1], "sha256": sha256(der).hexdigest(), "once": "a"}
    swapped = await with_file(chief, place, None, **given, **second | {"sha256": "0" * 64})
    says(swapped, "not what was shown")
    done = await with_file(chief, place, None, **given, **second)
    assert done.headers["Location"] == f"{REVOCATION}?notice=done", done.text[-500:]
    assert await lists() == 1
    assert await console.api.services.pool.fetchval("SELECT der FROM pnc.revocation_list") == der
    older = revocation_list(pki.second, now=now - timedelta(days=1))
    says(await with_file(chief, place, older, **given), "A newer list of this authority is stored")
    text = load_der_x509_crl(der).public_bytes(serialization.Encoding.PEM)
    says(await with_file(chief, place, text, **given), sha256(der).hexdigest())
    for content, changes, said in (
        (None, {}, "choose a file"),
        (b"not a list at all, but some text", {}, "expected a CRL in DER"),
        (b"\x30\x03\x02\x01\x01", {}, "read"),
        (der, {"authority": pki.first.pem}, "not signed by"),
        (der, {"authority": "nonsense"}, "certificate"),
        (b"\x30" * (MOST_CRL_BYTES + 1), {}, "uploadRevocationList"),
        (der[:-1] + bytes([der[-1] ^ 1]), {}, "not signed by"),
    ):
        answer = await with_file(chief, place, content, **given | changes)
        assert answer.status == 400, said
        says(answer, said, 'role="alert"', 'value="responder away"')
    assert await lists() == 1
    assert await acts_of(console) == [("uploadRevocationList", 201)]


async def test_trust_is_no_others_to_change(console: ConsoleOfTest) -> None:
    pki = build_pki(suite=Suite.P256, now=START, name="A V2G Operator")
    anchor = await trust(console, pki)
    der = revocation_list(pki.second, now=START)
    for party, role in (
        ("platform", "viewer"),
        ("platform", "developer"),
        ("platform", "support"),
        ("platform", "finance"),
        ("DE-ABC", "administrator"),
    ):
        visitor = await console.signed_in(party=party, role=role)
        for path in (f"{ROOTS}/{anchor}", CROSS, REVOCATION):
            page = await visitor.get(path)
            assert page.status == (200 if party == "platform" or path.startswith(ROOTS) else 403), path
            for field in (
                'name="authority"',
                'name="pem"',
                'name="file"',
                "<summary>Remove",
                "<summary>Retire",
            ):
                assert field not in page.text, (role, path)
        csrf = await visitor.csrf()
        for step in ({}, {"confirmed": "yes"}):
            for path, form in (
                (f"{ROOTS}/{anchor}/authorities", {"authority": pki.first.pem}),
                (f"{ROOTS}/{anchor}/authorities", {"act": "remove", "key_sha256": "0" * 64}),
                (CROSS, {"pem": pki.first.pem}),
                (f"{CROSS}/{'0' * 64}", {"reason": "x"}),
            ):
                assert (await visitor.post(path, form | step, csrf=csrf)).status == 403, (role, path)
            crl = await with_file(visitor, f"{REVOCATION}/lists", der, authority=pki.second.pem, **step)
            assert crl.status == 403, role
    assert await listed(console, "contract-authorities") == []
    assert await listed(console, "cross-certificates") == []
