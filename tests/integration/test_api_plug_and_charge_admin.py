"""Trust and contracts over HTTP: each change counts at once, is on the record, names no means of payment."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from gateway.sandbox.pki import Suite, build_pki, cross_sign, revocation_list
from tests.fakes.api import START, Answer
from tests.fakes.pnc_hook import ROOT, Hook, open_hook, statuses
from tests.fakes.pnc_market import EMAID, OCSP_URL


@pytest.fixture
async def hook(pool: Pool) -> AsyncIterator[Hook]:
    async with open_hook(pool) as opened:
        yield opened


async def admin(hook: Hook, method: str, path: str, body: Any = None) -> Answer:
    return await hook.api.call(method, f"{ROOT}/{path}", body, party="admin")


async def test_a_retired_root_stops_new_sessions_and_its_history_stays(hook: Hook) -> None:
    (root,) = (await admin(hook, "GET", "trust-anchors")).json["data"]
    assert (root["policy"], root["retired_at"]) == ("require", None)
    running = await hook.plug_in(ref="running")
    retired = await admin(hook, "POST", f"trust-anchors/{root['sha256']}/retire", {"reason": "key rolled"})
    assert retired.status == 204, retired.text
    stopped = await hook.plug_in(ref="new")
    assert (statuses(stopped), stopped.json["decision"]["finding"]) == (
        ("Invalid", "CertChainError"),
        "untrusted_root",
    )
    repeated = await hook.plug_in(ref="running")
    assert repeated.json["authorization_id"] == running.json["authorization_id"]
    assert (await admin(hook, "GET", "trust-anchors")).json["data"] == []
    (old,) = (await admin(hook, "GET", "trust-anchors?retired=true")).json["data"]
    assert old["retired_at"] is not None
    assert (await admin(hook, "POST", f"trust-anchors/{root['sha256']}/retire", {})).status == 404

    page = (await admin(hook, "GET", "trust-history?limit=2")).json
    assert page["has_more"]
    rest = (await admin(hook, "GET", f"trust-history?cursor={page['next_cursor']}")).json
    kinds = [change["kind"] for change in page["data"] + rest["data"]]
    assert kinds == ["endpoint_allowed", "anchor_added", "anchor_retired"]
    assert (rest["data"][-1]["reason"], rest["data"][-1]["actor"]) == ("key rolled", "platform")


async def test_a_cross_certificate_leads_to_a_trusted_root_until_it_is_retired(hook: Hook) -> None:
    other = build_pki(suite=Suite.P256, now=START, ocsp_url=OCSP_URL, name="Another Operator")
    leaf = other.issue(EMAID)
    bridge = cross_sign(other.root, by=hook.pki.root, now=START)
    hook.fetcher.know(hook.pki.root, bridge)
    hook.fetcher.know(other.root, other.first)
    hook.fetcher.know(other.first, other.second)
    hook.fetcher.know(other.second, leaf)
    request = hook.request(certificate=other.bundle(leaf))
    assert (await hook.plug_in(ref="a", request=request)).json["decision"]["finding"] == "untrusted_root"
    added = await admin(hook, "POST", "cross-certificates", {"pem": bridge.pem, "reason": "bridge"})
    assert added.status == 201, added.text
    through = await hook.plug_in(ref="b", request=request)
    assert through.json["decision"]["finding"] != "untrusted_root"
    (listed,) = (await admin(hook, "GET", "cross-certificates")).json["data"]
    retire = f"cross-certificates/{listed['sha256']}/retire"
    assert (await admin(hook, "POST", retire)).status == 204
    assert (await hook.plug_in(ref="c", request=request)).json["decision"]["finding"] == "untrusted_root"
    root_as_bridge = await admin(hook, "POST", "cross-certificates", {"pem": other.root.pem})
    assert root_as_bridge.status == 400


async def test_a_policy_and_its_sources_are_changed_per_root(hook: Hook) -> None:
    (root,) = (await admin(hook, "GET", "trust-anchors")).json["data"]
    path = f"trust-anchors/{root['sha256']}/policy"
    assert (await admin(hook, "PUT", path, {"policy": "soft"})).status == 400  # it states no reason
    source = {"authority": hook.pki.root.pem, "kind": "ocsp", "url": OCSP_URL}
    assert len((await admin(hook, "GET", "revocation-sources")).json["data"]) == 1
    assert (await admin(hook, "POST", "revocation-sources/remove", source)).status == 204
    assert (await hook.plug_in(ref="a")).json["decision"]["finding"] == "revocation_unreachable"
    soft = {"policy": "soft", "policy_reason": "no responder before May"}
    assert (await admin(hook, "PUT", path, soft)).status == 204
    assert statuses(await hook.plug_in(ref="b"))[0] == "Accepted"
    assert (await admin(hook, "PUT", path, {"policy": "require"})).status == 204
    assert statuses(await hook.plug_in(ref="c"))[0] != "Accepted"
    assert (await admin(hook, "POST", "revocation-sources", source)).status == 201
    assert (await admin(hook, "POST", "revocation-sources/remove", source)).status == 204
    assert (await admin(hook, "POST", "revocation-sources/remove", source)).status == 404
    private = source | {"url": "gopher://10.0.0.1/"}
    assert (await admin(hook, "POST", "revocation-sources", private)).status == 400


async def test_a_crl_counts_only_when_its_authority_signed_it(hook: Hook) -> None:
    serials = [hook.leaf.certificate.serial_number]
    stranger = build_pki(suite=Suite.P256, now=START).second
    forged = revocation_list(stranger, now=START, serials=serials)
    body = {"authority": hook.pki.second.pem, "crl": base64.b64encode(forged).decode()}
    refused = await admin(hook, "POST", "revocation-lists", body)
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (400, "/crl")
    garbage = await admin(hook, "POST", "revocation-lists", body | {"crl": "!" * 100})
    assert garbage.status == 400
    not_a_list = await admin(hook, "POST", "revocation-lists", body | {"crl": "A" * 100})
    assert not_a_list.status == 400
    assert statuses(await hook.plug_in(ref="a"))[0] == "Accepted"
    listed = base64.encodebytes(revocation_list(hook.pki.second, now=START, serials=serials)).decode()
    armored = f"-----BEGIN X509 CRL-----\n{listed}-----END X509 CRL-----\n"
    assert (await admin(hook, "POST", "revocation-lists", body | {"crl": armored})).status == 201
    assert statuses(await hook.plug_in(ref="b")) == ("Invalid", "CertificateRevoked")


async def test_an_import_reports_every_row_and_the_feed_tells_of_each_once(hook: Hook) -> None:
    def row(emaid: str, **changes: Any) -> dict[str, Any]:
        payment = {"type": "psp_payment_method", "payment_method": "pm_secret"}
        body = {"emaid": emaid, "party": "superapp", "payment": payment, "valid_from": "2026-10-01T00:00:00Z"}
        return body | changes

    stranger = hook.pki.bundle(hook.pki.issue("DE8AAC00000009"))
    rows = [
        row("DE8AAC00000001"),
        row("DE8AAC00000002", valid_from="yesterday"),
        row("DE8AAC00000003", limit=5000),
        row("DE8AAC00000004", party="parking", certificate_chain=stranger),
        row("not an eMAID!!"),
        {"emaid": 1},
        row(EMAID, party="parking"),
        row("DE8AAC00000001"),
        row("DE8AAC00000005", surprise=1),
        row("DE8AAC00000006", party="nobody"),
    ]
    answer = await admin(hook, "POST", "contract-imports", {"contracts": rows})
    assert answer.status == 200, answer.text
    reports = answer.json["rows"]
    refused = [report["row"] for report in reports if report["outcome"] == "refused"]
    # The third has a limit and its party no currency of its own: nothing is guessed.
    assert refused == [1, 2, 3, 4, 5, 6, 8, 9], answer.text
    assert all(reports[place]["problem"] for place in refused)
    assert [reports[place]["outcome"] for place in (0, 7)] == ["created", "unchanged"]
    assert (answer.json["stored"], answer.json["refused"]) == (2, 8)
    assert "pm_secret" not in answer.text
    assert (await admin(hook, "POST", "contract-imports", {"contracts": []})).status == 400

    await admin(hook, "POST", "contracts/DE8AAC00000001/block", {"reason": "lost"})
    seen, cursor = [], "0.0"
    while True:
        feed = await admin(hook, "GET", f"contract-changes?limit=1&cursor={cursor}")
        assert "pm_secret" not in feed.text
        seen += [(change["emaid"], change["kind"]) for change in feed.json["data"]]
        cursor = feed.json["next_cursor"]
        if not feed.json["has_more"]:
            break
    assert seen == [(EMAID, "created"), ("DE8AAC00000001", "created"), ("DE8AAC00000001", "blocked")]
    assert (await admin(hook, "GET", f"contract-changes?cursor={cursor}")).json["data"] == []
    for wrong in ("x", "1", "-1.0", f"{2**63}.0", "1.2.3"):
        assert (await admin(hook, "GET", f"contract-changes?cursor={wrong}")).status == 400, wrong
    story = (await admin(hook, "GET", "contracts/DE8AAC00000001/history")).json["data"]
    assert [(change["kind"], change["reason"]) for change in story] == [
        ("created", "import"),
        ("blocked", "lost"),
    ]
    assert (await admin(hook, "GET", "contracts/DE8AAC99999999/history")).status == 404


async def test_a_contract_of_an_unknown_party_is_not_stored(hook: Hook) -> None:
    answer = await hook.contract({"type": "partner_account"}, emaid="DE8AAC00000001", party="nobody")
    assert (answer.status, answer.json["code"]) == (404, "not_found")


async def test_a_withdrawn_certificate_is_refused_and_stays_in_the_history(hook: Hook) -> None:
    assert statuses(await hook.plug_in(ref="a"))[0] == "Accepted"  # which registers what was presented
    (known,) = (await admin(hook, "GET", f"contracts/{EMAID}/certificates")).json["data"]
    assert (known["source"], known["withdrawn_at"]) == ("presented", None)
    path = f"contracts/de-8aa-c12345678/certificates/{known['sha256']}/withdraw"
    assert (await admin(hook, "POST", path, {})).status == 400  # a reason is due
    assert (await admin(hook, "POST", path, {"reason": "vehicle sold"})).status == 204
    assert statuses(await hook.plug_in(ref="b")) == ("Invalid", "CertificateRevoked")
    (kept,) = (await admin(hook, "GET", f"contracts/{EMAID}/certificates")).json["data"]
    assert kept["withdrawn_reason"] == "vehicle sold"
    assert (await admin(hook, "POST", path, {"reason": "again"})).status == 404
    assert (await admin(hook, "GET", "contracts/nothing/certificates")).status == 404


async def test_only_administrators_change_or_read_trust_and_contracts(hook: Hook) -> None:
    digest = "0" * 64
    for method, path in (
        ("GET", "trust-anchors"), ("POST", f"trust-anchors/{digest}/retire"), ("GET", "trust-history"),
        ("POST", "revocation-lists"), ("POST", "contract-imports"), ("GET", "contract-changes"),
        ("GET", f"contracts/{EMAID}/certificates"), ("GET", f"contracts/{EMAID}/history"),
    ):  # fmt: skip
        for party in ("DE-ABC", "superapp"):
            answer = await hook.api.call(method, f"{ROOT}/{path}", None, party=party)
            assert answer.status == 403, (method, path)
