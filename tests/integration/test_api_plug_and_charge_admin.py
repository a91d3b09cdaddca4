"""Trust and contracts over HTTP: each change counts at once, is on the record, names no means of payment."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from sandbox.pki.hierarchy import Suite, build_pki, cross_sign, revocation_list
from tests.fakes.api import EVSE, START, Answer
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api, statuses
from tests.fakes.pnc_market import EMAID, OCSP_URL


@pytest.fixture
async def station(pool: Pool) -> AsyncIterator[StationApi]:
    async with open_station_api(pool) as opened:
        yield opened


async def admin(station: StationApi, method: str, path: str, body: Any = None) -> Answer:
    return await station.api.call(method, f"{ROOT}/{path}", body, party="admin")


async def test_a_retired_root_stops_new_sessions_and_its_history_stays(station: StationApi) -> None:
    (root,) = (await admin(station, "GET", "trust-anchors")).json["data"]
    assert (root["policy"], root["retired_at"]) == ("require", None)
    running = await station.plug_in(ref="running")
    retired = await admin(station, "POST", f"trust-anchors/{root['sha256']}/retire", {"reason": "key rolled"})
    assert retired.status == 204, retired.text
    stopped = await station.plug_in(ref="new")
    assert (statuses(stopped), stopped.json["decision"]["rejection_reason"]) == (
        ("Invalid", "CertChainError"),
        "untrusted_root",
    )
    repeated = await station.plug_in(ref="running")
    assert repeated.json["authorization_id"] == running.json["authorization_id"]
    assert (await admin(station, "GET", "trust-anchors")).json["data"] == []
    (old,) = (await admin(station, "GET", "trust-anchors?retired=true")).json["data"]
    assert old["retired_at"] is not None
    assert (await admin(station, "POST", f"trust-anchors/{root['sha256']}/retire", {})).status == 404

    page = (await admin(station, "GET", "trust-history?limit=2")).json
    assert page["has_more"]
    rest = (await admin(station, "GET", f"trust-history?cursor={page['next_cursor']}")).json
    kinds = [change["kind"] for change in page["data"] + rest["data"]]
    assert kinds == ["endpoint_allowed", "anchor_added", "anchor_retired"]
    assert (rest["data"][-1]["reason"], rest["data"][-1]["actor"]) == ("key rolled", "platform")


async def test_a_cross_certificate_leads_to_a_trusted_root_until_it_is_retired(station: StationApi) -> None:
    other = build_pki(suite=Suite.P256, now=START, ocsp_url=OCSP_URL, name="Another Operator")
    leaf = other.issue(EMAID)
    bridge = cross_sign(other.root, by=station.pki.root, now=START)
    station.fetcher.know(station.pki.root, bridge)
    station.fetcher.know(other.root, other.first)
    station.fetcher.know(other.first, other.second)
    station.fetcher.know(other.second, leaf)
    request = station.request(certificate=other.bundle(leaf))
    assert (await station.plug_in(ref="a", request=request)).json["decision"][
        "rejection_reason"
    ] == "untrusted_root"
    added = await admin(station, "POST", "cross-certificates", {"pem": bridge.pem, "reason": "bridge"})
    assert added.status == 201, added.text
    through = await station.plug_in(ref="b", request=request)
    assert through.json["decision"]["rejection_reason"] != "untrusted_root"
    (listed,) = (await admin(station, "GET", "cross-certificates")).json["data"]
    retire = f"cross-certificates/{listed['sha256']}/retire"
    assert (await admin(station, "POST", retire)).status == 204
    assert (await station.plug_in(ref="c", request=request)).json["decision"][
        "rejection_reason"
    ] == "untrusted_root"
    root_as_bridge = await admin(station, "POST", "cross-certificates", {"pem": other.root.pem})
    assert root_as_bridge.status == 400


async def test_a_policy_and_its_sources_are_changed_per_root(station: StationApi) -> None:
    (root,) = (await admin(station, "GET", "trust-anchors")).json["data"]
    path = f"trust-anchors/{root['sha256']}/policy"
    assert (await admin(station, "PUT", path, {"policy": "soft"})).status == 400  # it states no reason
    source = {"authority": station.pki.root.pem, "kind": "ocsp", "url": OCSP_URL}
    assert len((await admin(station, "GET", "revocation-sources")).json["data"]) == 1
    assert (await admin(station, "POST", "revocation-sources/remove", source)).status == 204
    assert (await station.plug_in(ref="a")).json["decision"]["rejection_reason"] == "revocation_unreachable"
    soft = {"policy": "soft", "policy_reason": "no responder before May"}
    assert (await admin(station, "PUT", path, soft)).status == 204
    assert statuses(await station.plug_in(ref="b"))[0] == "Accepted"
    assert (await admin(station, "PUT", path, {"policy": "require"})).status == 204
    assert statuses(await station.plug_in(ref="c"))[0] != "Accepted"
    assert (await admin(station, "POST", "revocation-sources", source)).status == 201
    assert (await admin(station, "POST", "revocation-sources/remove", source)).status == 204
    assert (await admin(station, "POST", "revocation-sources/remove", source)).status == 404
    private = source | {"url": "gopher://10.0.0.1/"}
    assert (await admin(station, "POST", "revocation-sources", private)).status == 400


async def test_a_crl_counts_only_when_its_authority_signed_it(station: StationApi) -> None:
    serials = [station.leaf.certificate.serial_number]
    stranger = build_pki(suite=Suite.P256, now=START).second
    forged = revocation_list(stranger, now=START, serials=serials)
    body = {"authority": station.pki.second.pem, "crl": base64.b64encode(forged).decode()}
    rejected = await admin(station, "POST", "revocation-lists", body)
    assert (rejected.status, rejected.json["errors"][0]["pointer"]) == (400, "/crl")
    garbage = await admin(station, "POST", "revocation-lists", body | {"crl": "!" * 100})
    assert garbage.status == 400
    not_a_list = await admin(station, "POST", "revocation-lists", body | {"crl": "A" * 100})
    assert not_a_list.status == 400
    assert statuses(await station.plug_in(ref="a"))[0] == "Accepted"
    listed = base64.encodebytes(revocation_list(station.pki.second, now=START, serials=serials)).decode()
    armored = f"-----BEGIN X509 CRL-----\n{listed}-----END X509 CRL-----\n"
    assert (await admin(station, "POST", "revocation-lists", body | {"crl": armored})).status == 201
    assert statuses(await station.plug_in(ref="b")) == ("Invalid", "CertificateRevoked")


async def test_an_import_reports_every_row_and_the_feed_tells_of_each_once(station: StationApi) -> None:
    def row(emaid: str, **changes: Any) -> dict[str, Any]:
        payment = {"type": "psp_payment_method", "payment_method": "pm_secret"}
        body = {"emaid": emaid, "party": "superapp", "payment": payment, "valid_from": "2026-10-01T00:00:00Z"}
        return body | changes

    stranger = station.pki.bundle(station.pki.issue("DE8AAC00000009"))
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
    answer = await admin(station, "POST", "contract-imports", {"contracts": rows})
    assert answer.status == 200, answer.text
    reports = answer.json["rows"]
    rejected = [report["row"] for report in reports if report["outcome"] == "rejected"]
    # The third has a limit and its party no currency of its own: nothing is guessed.
    assert rejected == [1, 2, 3, 4, 5, 6, 8, 9], answer.text
    assert all(reports[place]["problem"] for place in rejected)
    assert [reports[place]["outcome"] for place in (0, 7)] == ["created", "unchanged"]
    assert (answer.json["stored"], answer.json["rejected"]) == (2, 8)
    assert "pm_secret" not in answer.text
    assert (await admin(station, "POST", "contract-imports", {"contracts": []})).status == 400

    await admin(station, "POST", "contracts/DE8AAC00000001/block", {"reason": "lost"})
    seen, cursor = [], "0.0"
    while True:
        feed = await admin(station, "GET", f"contract-changes?limit=1&cursor={cursor}")
        assert "pm_secret" not in feed.text
        seen += [(change["emaid"], change["kind"]) for change in feed.json["data"]]
        cursor = feed.json["next_cursor"]
        if not feed.json["has_more"]:
            break
    assert seen == [(EMAID, "created"), ("DE8AAC00000001", "created"), ("DE8AAC00000001", "blocked")]
    assert (await admin(station, "GET", f"contract-changes?cursor={cursor}")).json["data"] == []
    for wrong in ("x", "1", "-1.0", f"{2**63}.0", "1.2.3"):
        assert (await admin(station, "GET", f"contract-changes?cursor={wrong}")).status == 400, wrong
    story = (await admin(station, "GET", "contracts/DE8AAC00000001/history")).json["data"]
    assert [(change["kind"], change["reason"]) for change in story] == [
        ("created", "import"),
        ("blocked", "lost"),
    ]
    assert (await admin(station, "GET", "contracts/DE8AAC99999999/history")).status == 404


async def test_a_contract_of_an_unknown_party_is_not_stored(station: StationApi) -> None:
    answer = await station.contract({"type": "partner_account"}, emaid="DE8AAC00000001", party="nobody")
    assert (answer.status, answer.json["code"]) == (404, "not_found")


async def test_a_blocked_certificate_is_rejected_and_stays_in_the_history(station: StationApi) -> None:
    assert statuses(await station.plug_in(ref="a"))[0] == "Accepted"  # which registers what was presented
    (known,) = (await admin(station, "GET", f"contracts/{EMAID}/certificates")).json["data"]
    assert (known["source"], known["blocked_at"]) == ("presented", None)
    path = f"contracts/de-8aa-c12345678/certificates/{known['sha256']}/block"
    assert (await admin(station, "POST", path, {})).status == 400  # a reason is due
    assert (await admin(station, "POST", path, {"reason": "vehicle sold"})).status == 204
    assert statuses(await station.plug_in(ref="b")) == ("Invalid", "CertificateRevoked")
    (kept,) = (await admin(station, "GET", f"contracts/{EMAID}/certificates")).json["data"]
    assert kept["blocked_reason"] == "vehicle sold"
    assert (await admin(station, "POST", path, {"reason": "again"})).status == 404
    assert (await admin(station, "GET", "contracts/nothing/certificates")).status == 404


async def test_only_administrators_change_or_read_trust_and_contracts(station: StationApi) -> None:
    digest = "0" * 64
    for method, path in (
        ("GET", "trust-anchors"),
        ("POST", f"trust-anchors/{digest}/retire"),
        ("GET", "trust-history"),
        ("POST", "revocation-lists"),
        ("POST", "contract-imports"),
        ("GET", "contract-changes"),
        ("GET", f"contracts/{EMAID}/certificates"),
        ("GET", f"contracts/{EMAID}/history"),
    ):
        for party in ("DE-ABC", "superapp"):
            answer = await station.api.call(method, f"{ROOT}/{path}", None, party=party)
            assert answer.status == 403, (method, path)


async def test_authorities_below_a_shared_root_are_named_and_removed(station: StationApi) -> None:
    shared = build_pki(suite=Suite.P256, now=START, name="Shared")
    body = {"environment": "sandbox", "kind": "v2g_root", "pem": shared.root.pem, "policy": "require"}
    root = (await admin(station, "POST", "trust-anchors", body)).json["sha256"]

    async def warnings() -> list[str]:
        listed = (await admin(station, "GET", "trust-anchors")).json["data"]
        return [anchor["warning"] for anchor in listed if anchor["sha256"] == root]

    assert "may issue contracts" in (await warnings())[0]
    path = f"trust-anchors/{root}/contract-authorities"
    named = await admin(station, "POST", path, {"pem": shared.first.pem, "reason": "contract of 2026"})
    assert named.status == 201, named.text
    assert "Shared Sub 1" in named.json["subject"]
    assert await warnings() == [""]
    (listed,) = (await admin(station, "GET", "contract-authorities")).json["data"]
    assert listed == named.json
    key = {"key_sha256": listed["key_sha256"]}
    assert (await admin(station, "POST", f"{path}/remove", key)).status == 204
    assert (await admin(station, "POST", f"{path}/remove", key)).status == 404
    assert (await admin(station, "POST", path, {})).status == 400
    assert (await admin(station, "POST", path, {"pem": shared.first.pem, **key})).status == 400
    assert (await admin(station, "POST", path, {"pem": shared.issue(EMAID).pem})).status == 400
    unknown = f"trust-anchors/{'00' * 32}/contract-authorities"
    assert (await admin(station, "POST", unknown, key)).status == 404
    assert (await admin(station, "POST", "trust-anchors/zz/contract-authorities", key)).status == 404


async def test_a_list_of_roots_is_tried_then_brought_in(station: StationApi) -> None:
    shared = build_pki(suite=Suite.P256, now=START, name="Shared")
    body = {
        "name": "pki-a",
        "kind": "v2g_root",
        "policy": "require",
        "roots": f"# roots of 2026\n{shared.root.pem}",
    }
    before = (await admin(station, "GET", "trust-anchors")).json
    tried = await admin(station, "POST", "trust-lists", {**body, "dry_run": True})
    assert tried.status == 200, tried.text
    assert [root["outcome"] for root in tried.json["roots"]] == ["added"]
    assert (await admin(station, "GET", "trust-anchors")).json == before
    assert (await admin(station, "POST", "trust-lists", body)).json == {**tried.json, "dry_run": False}
    assert len((await admin(station, "GET", "trust-anchors")).json["data"]) == 2


async def test_a_private_key_that_is_handed_in_is_refused_not_stored_and_not_logged(
    station: StationApi, capsys: pytest.CaptureFixture[str]
) -> None:
    key = station.pki.root.key_pem()
    secret = key.splitlines()[1]
    text = station.pki.root.pem + key
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("trust-lists", {"name": "a", "kind": "mo_root", "policy": "require", "roots": text}),
        ("trust-anchors", {"environment": "sandbox", "kind": "mo_root", "policy": "require", "pem": text}),
        ("cross-certificates", {"pem": text}),
    ]
    said = []
    for place, (path, body) in enumerate(bodies):
        url = f"{ROOT}/{path}"
        answer = await station.api.call("POST", url, body, party="admin", key=f"k{place}")
        assert (answer.status, "private key" in answer.text) == (400, True), answer.text
        said.append(answer.text)
    chain = station.pki.bundle(station.leaf) + key
    refused = await station.contract({"type": "partner_account"}, certificate_chain=chain)
    assert (refused.status, "private key" in refused.text) == (400, True)
    printed = capsys.readouterr()
    assert secret not in "".join([*said, refused.text, printed.out, printed.err])
    pool = station.api.services.pool
    tables = await pool.fetch("SELECT table_schema AS s, table_name AS t FROM information_schema.tables")
    owned = [f"{row['s']}.{row['t']}" for row in tables if row["s"] in {"gateway", "pnc", "clearing"}]
    assert owned
    for table in owned:
        assert secret not in str([tuple(row) for row in await pool.fetch(f"TABLE {table}")])


async def test_log_lines_and_metrics_name_the_route_and_never_whose_contract_it_is(
    station: StationApi, capsys: pytest.CaptureFixture[str]
) -> None:
    uid = "04A2B3C4D5E6F7"
    await station.plug_in()
    for method, path in (
        ("POST", f"contracts/{EMAID}/block"),
        ("GET", f"contracts/{EMAID}/history"),
        ("GET", f"contracts/{EMAID}/certificates"),
        ("POST", f"contracts/{EMAID}/cancel"),
        ("POST", f"contracts/{EMAID}/unblock"),  # a conflict
        ("GET", f"nothing/{EMAID}"),
    ):
        await admin(station, method, path)
    station.api.psp.faults.append("after")
    await station.plug_in(ref="pending")
    began = {"started_at": "2026-10-29T07:00:00Z", "energy_wh": 1, "reason": "local_list"}
    await station.plug_in(ref="late", offline=began)
    for version, message in (("2.0.1", "authorize"), ("2.1", "boot"), ("2.1", "get-certificate-status")):
        path = f"{ROOT}/ocpp/{version}/{message}?evse_id=E1&session_ref={EMAID}"
        await station.api.call("POST", path, station.request(), party="DE-ABC")
    for wrong in ({"idToken": {"idToken": f"{EMAID}-Z", "type": "eMAID"}}, {"idToken": EMAID}, [EMAID]):
        path = f"{ROOT}/ocpp/2.1/authorize?evse_id={EVSE}&session_ref=x"
        await station.api.call("POST", path, wrong, party="DE-ABC")
    await station.contract({"type": "partner_account"}, emaid=f"{EMAID}9999")
    for path in (f"/v1/ocpi-tokens/RFID/{uid}", f"/ocpi/2.2.1/tokens/DE/ABC/{uid}"):
        await station.api.call("GET", path, party="admin")
    metrics = await station.api.call("GET", "/metrics", party="admin")
    printed = capsys.readouterr()
    text = printed.out + printed.err
    assert "contracts/{emaid}/history" in text
    for name in (EMAID, EMAID.lower(), EMAID[5:], uid):
        assert name not in text
        assert name not in metrics.text
