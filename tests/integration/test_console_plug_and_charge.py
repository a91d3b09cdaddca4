"""Forms on contracts and roots: who may, what they change, and what a rejected form says."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.console.views.plug_and_charge_acts import with_payment
from gateway.database import Pool
from pnc.ports import FetchError
from pnc.revocation_checker import RevocationChecker
from pnc.service import PlugAndChargeService
from sandbox.pki.hierarchy import ContractPki, Suite, build_pki
from tests.fakes.api import START, Answer
from tests.fakes.console import ConsoleOfTest, Visitor, open_console, paid_session
from tests.fakes.pnc_authorize import ROOT
from tests.fakes.pnc_market import EMAID, OCSP_URL, ScriptedFetcher

CONTRACTS, ROOTS = "/console/plug-and-charge/contracts", "/console/plug-and-charge/roots"
CONTRACT = f"{CONTRACTS}/{EMAID}"


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        await paid_session(opened.api)
        yield opened


@pytest.fixture
def pki(console: ConsoleOfTest) -> ContractPki:
    return build_pki(suite=Suite.P256, now=START, ocsp_url=OCSP_URL, name="A Mobility Operator")


async def store_contract(console: ConsoleOfTest, **changes: Any) -> Answer:
    body = {
        "emaid": EMAID,
        "party": "superapp",
        "payment": {"type": "psp_payment_method", "payment_method": "pm_good", "customer": "cus_1"},
        "valid_from": "2026-10-01T00:00:00Z",
        "limit": 8_000,
        "currency": "EUR",
    }
    stored = await console.api.call("POST", f"{ROOT}/contracts", body | changes, party="admin")
    assert stored.status == 201, stored.text
    return stored


async def contract_of(console: ConsoleOfTest) -> Any:
    return (await console.api.call("GET", f"{ROOT}/contracts/{EMAID}", party="admin")).json


async def acts_of(console: ConsoleOfTest) -> list[tuple[str, int]]:
    rows = await console.api.services.pool.fetch(
        "SELECT operation, status FROM gateway.person_act WHERE operation <> 'signIn' ORDER BY acted_at, id"
    )
    return [(row["operation"], row["status"]) for row in rows]


def says(page: str, text: str) -> bool:
    """Whether a page holds a text; a failing `in` would show the whole page, and slowly."""
    return text in page


async def sent(visitor: Visitor, path: str, once: str, **form: str) -> Answer:
    return await visitor.post(path, form | {"once": once})


async def test_a_partys_support_blocks_unblocks_and_ends_its_contract(console: ConsoleOfTest) -> None:
    await store_contract(console)
    support = await console.signed_in(party="superapp", role="support")
    page = (await support.get(CONTRACT)).text
    for word in ("80.00", 'value="block"', 'value="cancel"', 'name="payment_method"'):
        assert says(page, word), word
    assert not says(page, "pm_good")
    assert not says(page, "disable-payment"), "another party may pay with the same means"
    done = await sent(support, CONTRACT, "a", act="block", reason="stolen car")
    assert "notice=done" in done.headers["Location"]
    assert (await contract_of(console))["state"] == "blocked"
    shown = (await support.get(CONTRACT)).text
    assert says(shown, "stolen car")
    assert says(shown, 'value="unblock"')
    await sent(support, CONTRACT, "b", act="unblock")
    assert (await contract_of(console))["state"] == "active"
    await sent(support, CONTRACT, "c", act="cancel", reason="sold")
    assert (await contract_of(console))["state"] == "cancelled"
    assert not says((await support.get(CONTRACT)).text, 'value="block"')
    late = await sent(support, CONTRACT, "d", act="unblock")
    assert late.status == 409
    assert says(late.text, "cancelled")
    assert await acts_of(console) == [
        ("blockContract", 200),
        ("unblockContract", 200),
        ("cancelContract", 200),
        ("unblockContract", 409),
    ]
    assert (await sent(support, CONTRACT, "e", act="erase")).status == 404


async def test_a_contract_is_neither_a_viewers_nor_another_partys_to_change(console: ConsoleOfTest) -> None:
    await store_contract(console)
    for party, role, status in (
        ("superapp", "viewer", 403),
        ("superapp", "finance", 403),
        ("parking", "administrator", 404),
    ):
        visitor = await console.signed_in(party=party, role=role)
        assert not says((await visitor.get(CONTRACT)).text, 'value="block"')
        assert (await sent(visitor, CONTRACT, "x", act="block")).status in {status, 404}, (party, role)
        assert (await sent(visitor, f"{CONTRACT}/payment", "y", revision="1")).status in {status, 404, 409}
        assert (await sent(visitor, CONTRACT, "z", act="disable-payment")).status in {403, 404}
    assert (await contract_of(console))["revision"] == 1
    no_token = await (await console.signed_in(party="superapp", role="support")).post(
        CONTRACT, {"act": "block"}, csrf="0" * 64
    )
    assert no_token.status == 403


async def test_what_pays_is_named_anew_and_the_rest_of_the_contract_stays(console: ConsoleOfTest) -> None:
    await store_contract(console, sessions_at_once=1, on_suspicion="block")
    before = await contract_of(console)
    chief = await console.signed_in(party="superapp", role="administrator")
    wrong = await sent(
        chief, f"{CONTRACT}/payment", "a", revision="1", type="psp_payment_method", payment_method="4242"
    )
    assert wrong.status == 400
    assert says(wrong.text, 'value="4242"'), "what was written is on the form that says what is wrong with it"
    assert says(wrong.text, 'role="alert"')
    empty = await sent(chief, f"{CONTRACT}/payment", "b", revision="1", type="psp_payment_method")
    assert empty.status == 400
    form = {"type": "psp_payment_method", "payment_method": "pm_other", "customer": "cus_1", "revision": "1"}
    done = await sent(chief, f"{CONTRACT}/payment", "c", **form)
    assert "notice=done" in done.headers["Location"], done.text[:2000]
    after = await contract_of(console)
    assert after == before | {"revision": 2}
    stored = await console.api.services.pool.fetchval("SELECT payment_reference FROM pnc.contract")
    assert "pm_other" in stored
    stale = await sent(chief, f"{CONTRACT}/payment", "d", **form)
    assert stale.status == 409
    assert says(stale.text, "changed the contract meanwhile")
    account = await sent(chief, f"{CONTRACT}/payment", "e", type="partner_account", revision="2")
    assert "notice=done" in account.headers["Location"], account.text[:2000]
    assert (await contract_of(console))["payment_type"] == "partner_account"
    missing = await sent(chief, f"{CONTRACTS}/DE8AAC87654321/payment", "f", revision="1")
    assert missing.status == 404


def test_a_contract_keeps_each_limit_when_its_payment_changes() -> None:
    contract = {
        "emaid": EMAID,
        "party": "p",
        "valid_from": "2026-10-01T00:00:00Z",
        "valid_to": None,
        "limit": 5,
        "currency": "EUR",
        "sessions_at_once": 1,
        "sessions_per_day": 2,
        "offline_limit": 0,
        "amount_per_day": 9,
        "on_suspicion": "block",
        "state": "active",
        "revision": 7,
        "warning": None,
    }
    body = with_payment(contract, {"type": "partner_account"})
    kept = {name: value for name, value in contract.items() if value is not None}
    assert body == {key: kept[key] for key in kept if key not in {"state", "revision"}} | {
        "payment": {"type": "partner_account"}
    }


async def test_an_administrator_stops_and_allows_a_means_of_payment(console: ConsoleOfTest) -> None:
    await store_contract(console)
    chief = await console.signed_in(role="administrator")
    await sent(chief, CONTRACT, "a", act="disable-payment", reason="mandate revoked")
    assert not (await contract_of(console))["payment_usable"]
    assert says((await chief.get(CONTRACT)).text, 'value="enable-payment"')
    await sent(chief, CONTRACT, "b", act="enable-payment")
    assert (await contract_of(console))["payment_usable"]


async def test_a_certificate_of_a_contract_is_blocked_with_a_reason(
    console: ConsoleOfTest, pki: ContractPki
) -> None:
    await trust(console, pki)
    await store_contract(console, certificate_chain=pki.bundle(pki.issue(EMAID)))
    support = await console.signed_in(role="support")
    found = re.search(rf"{CONTRACT}/certificates/[0-9a-f]{{64}}", (await support.get(CONTRACT)).text)
    assert found is not None
    wrong = await sent(support, found[0], "a")
    assert wrong.status == 400
    assert says(wrong.text, "/reason")
    await sent(support, found[0], "b", reason="key copied")
    page = (await support.get(CONTRACT)).text
    assert says(page, "key copied")
    assert not says(page, found[0])


async def trust(console: ConsoleOfTest, pki: ContractPki) -> None:
    body = {
        "environment": "sandbox",
        "kind": "mo_root",
        "pem": pki.root.pem,
        "policy": "require",
        "revocation_sources": [{"kind": "ocsp", "url": OCSP_URL}],
    }
    added = await console.api.call("POST", f"{ROOT}/trust-anchors", body, party="admin")
    assert added.status == 201, added.text


async def test_a_root_is_shown_before_it_is_trusted(console: ConsoleOfTest, pki: ContractPki) -> None:
    chief = await console.signed_in(role="administrator")
    form = {
        "pem": pki.root.pem,
        "kind": "mo_root",
        "policy": "soft",
        "policy_reason": "no responder before May",
        "ocsp_urls": f"{OCSP_URL}\r\n",
        "reason": "as published",
    }
    preview = await sent(chief, ROOTS, "a", **form)
    assert preview.status == 200
    sha256 = pki.root.certificate.fingerprint(_sha256()).hex()
    for text in (sha256, "P-256", "ISO 15118-2", OCSP_URL, "no responder before May", "as published"):
        assert says(preview.text, text), text
    listed = await console.api.call("GET", f"{ROOT}/trust-anchors", party="admin")
    assert listed.json["data"] == [], "nothing is trusted before somebody confirms"
    other = build_pki(suite=Suite.P256, now=START, name="Another").root.pem
    swapped = await sent(chief, ROOTS, "b", **form | {"pem": other, "confirmed": "yes", "sha256": sha256})
    assert swapped.status == 400
    assert says(swapped.text, "not the certificate that was shown")
    done = await sent(chief, ROOTS, "c", **form | {"confirmed": "yes", "sha256": sha256})
    assert "notice=done" in done.headers["Location"], done.text[:2000]
    (root,) = (await console.api.call("GET", f"{ROOT}/trust-anchors", party="admin")).json["data"]
    assert (root["sha256"], root["policy"], root["kind"]) == (sha256, "soft", "mo_root")
    sources = await console.api.call("GET", f"{ROOT}/revocation-sources", party="admin")
    assert [one["kind"] for one in sources.json["data"]] == ["ocsp"]
    assert await acts_of(console) == [("addTrustAnchor", 201)]
    again = await sent(chief, ROOTS, "d", **form)
    assert (again.status, "trusted already" in again.text) == (400, True)


def _sha256() -> Any:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    return SHA256()


_A_KEY = "-----BEGIN {0}-----\nAAAA\n-----END {0}-----".format("PRIVATE " + "KEY")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pem": "x" * 80}, "DER"),
        ({"pem": ""}, "expected|certificate|DER"),
        ({"pem": _A_KEY}, "[Pp]rivate key"),
        ({"pem": "A" * 32_001}, "at most"),
        ({"kind": "root_of_all"}, "kind"),
        ({"policy": "never"}, "policy"),
        ({"policy": "soft"}, "states its reason"),
    ],
)
async def test_a_root_that_will_not_do_says_so_on_the_form(
    console: ConsoleOfTest, pki: ContractPki, changes: dict[str, str], said: str
) -> None:
    chief = await console.signed_in(role="administrator")
    form = {"pem": pki.root.pem, "kind": "mo_root", "policy": "require", "reason": "kept text"}
    for step in ({}, {"confirmed": "yes"}):
        if step and "pem" not in changes:
            continue
        answer = await sent(chief, ROOTS, "a", **form | changes | step)
        assert answer.status == 400
        assert re.search(rf'role="alert">.*({said})', answer.text), said
        assert says(answer.text, 'value="kept text"')


async def test_a_leaf_and_two_certificates_are_no_root(console: ConsoleOfTest, pki: ContractPki) -> None:
    chief = await console.signed_in(role="administrator")
    form = {"kind": "mo_root", "policy": "require"}
    for pem in (pki.issue(EMAID).pem, pki.root.pem + pki.first.pem):
        answer = await sent(chief, ROOTS, "a", pem=pem, **form)
        assert (answer.status, 'role="alert"' in answer.text) == (400, True)
    url = await sent(chief, ROOTS, "b", pem=pki.root.pem, ocsp_urls="gopher://x/ y", **form)
    assert url.status == 200, "an address is the service's to reject"
    sha256 = re.search(r'name="sha256" value="([0-9a-f]{64})"', url.text)
    assert sha256 is not None
    confirmed = {"confirmed": "yes", "sha256": sha256[1], "ocsp_urls": "gopher://10.0.0.1/"}
    rejected = await sent(chief, ROOTS, "c", pem=pki.root.pem, **form | confirmed)
    assert (rejected.status, "gopher" in rejected.text) == (400, True)
    assert (await console.api.call("GET", f"{ROOT}/trust-anchors", party="admin")).json["data"] == []


async def test_a_root_gets_another_policy_and_is_retired(console: ConsoleOfTest, pki: ContractPki) -> None:
    await trust(console, pki)
    chief = await console.signed_in(role="administrator")
    found = re.search(rf"{ROOTS}/[0-9a-f]{{64}}", (await chief.get(ROOTS)).text)
    assert found is not None
    page = (await chief.get(found[0])).text
    assert says(page, "BEGIN CERTIFICATE")
    assert says(page, 'value="retire"')
    wrong = await sent(chief, found[0], "a", act="policy", policy="soft")
    assert (wrong.status, "states its reason" in wrong.text) == (400, True)
    await sent(chief, found[0], "b", act="policy", policy="soft", policy_reason="until May")
    assert says((await chief.get(found[0])).text, "until May")
    assert (await sent(chief, found[0], "c", act="melt")).status == 404
    done = await sent(chief, found[0], "d", act="retire", reason="key rolled")
    assert "notice=done" in done.headers["Location"]
    assert (await chief.get(found[0])).status == 404
    assert (await sent(chief, found[0], "e", act="retire", reason="again")).status == 404
    history = await console.api.call("GET", f"{ROOT}/trust-history", party="admin")
    assert [one["kind"] for one in history.json["data"]][-2:] == ["policy_changed", "anchor_retired"]
    assert history.json["data"][-1]["reason"] == "key rolled"


async def test_roots_are_no_others_to_change(console: ConsoleOfTest, pki: ContractPki) -> None:
    await trust(console, pki)
    for party, role in (("platform", "support"), ("platform", "finance"), ("DE-ABC", "administrator")):
        visitor = await console.signed_in(party=party, role=role)
        page = (await visitor.get(ROOTS)).text
        assert not says(page, 'name="pem"')
        found = re.search(rf"{ROOTS}/[0-9a-f]{{64}}", page)
        assert found is not None
        shown = (await visitor.get(found[0])).text
        assert says(shown, "P-256")
        assert not says(shown, 'value="retire"')
        form = {"pem": pki.root.pem, "kind": "mo_root", "policy": "require"}
        assert (await sent(visitor, ROOTS, "a", **form)).status == 403
        assert (await sent(visitor, found[0], "b", act="retire", reason="x")).status == 403
        assert (await sent(visitor, "/console/plug-and-charge/revocation", "c")).status == 403


async def test_status_is_asked_for_now_and_the_page_says_what_came_of_it(pool: Pool) -> None:
    path = "/console/plug-and-charge/revocation"
    fetcher = ScriptedFetcher(now=START)
    service = PlugAndChargeService(revocation_checker=RevocationChecker(fetcher=fetcher))
    async with open_console(pool, plug_and_charge=service) as console:
        await paid_session(console.api)
        pki = build_pki(suite=Suite.P256, now=console.api.clock.now(), ocsp_url=OCSP_URL)
        fetcher.now = console.api.clock.now()
        leaf = pki.issue(EMAID)
        fetcher.know(pki.root, pki.first)
        fetcher.know(pki.first, pki.second)
        fetcher.know(pki.second, leaf)
        fetcher.script[leaf.certificate.serial_number] = FetchError("no answer")
        await trust(console, pki)
        await store_contract(console, certificate_chain=pki.bundle(leaf))
        chief = await console.signed_in(role="administrator")
        assert says((await chief.get(path)).text, 'method="post"')
        silent = await sent(chief, path, "a")
        assert silent.status == 200
        assert says(silent.text, "Checked: 1. Without an answer: 1. Still without a status that counts: 1.")
        again = await sent(chief, path, "a")
        assert says(again.text, "Checked: 1. Without an answer: 1."), "a form that is sent twice asks once"
        assert fetcher.asked.count(OCSP_URL) == len(fetcher.asked)
        fetcher.script.clear()
        answered = await sent(chief, path, "b")
        assert says(answered.text, "Checked: 1. Without an answer: 0. Still without a status that counts: 0.")
        nothing = await sent(chief, path, "c")
        assert says(nothing.text, "Checked: 0.")
        assert await acts_of(console) == [("refreshRevocationStatus", 200)] * 4
