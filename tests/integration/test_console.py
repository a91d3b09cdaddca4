"""The console: each page for each role, whose objects are found, what a role may do, and hostile texts."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from asyncpg import CannotConnectNowError
from typing_extensions import override

from gateway.api.server import build_api
from gateway.console.navigation import SECTIONS
from gateway.console.server import Console
from gateway.console.texts import catalogue
from gateway.console.views.routes import FORMS, PAGES
from gateway.database import Pool
from gateway.errors import RateLimitExceededError
from gateway.ids import parse_id, shard_of
from gateway.limits.rate_limit import RateLimiter
from gateway.people.person import SessionLimits, SignedIn
from gateway.people.roles import PersonRole
from gateway.people.sign_in import SignInService
from tests.fakes.console import HOSTILE, ConsoleOfTest, HostileTariff, Visitor, open_console, paid_session
from tests.fakes.console_everything import BANK_DETAILS
from tests.integration.test_payments import news

LISTS = [path for path in PAGES if "{" not in path]
PLATFORM_ONLY = {
    "/console/flow",
    "/console/exceptions",
    "/console/approvals",
    "/console/reconciliation",
    "/console/ledger",
    "/console/operations",
    "/console/plug-and-charge/cross-certificates",
    "/console/plug-and-charge/revocation",
}
FOR_DEVELOPERS = {"/console/webhooks", "/console/keys", "/console/requests"}


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool, tariffs=HostileTariff()) as opened:
        yield opened


async def found_on(visitor: Visitor, path: str, pattern: str) -> str:
    found = re.search(pattern, (await visitor.get(path)).text)
    assert found is not None, path
    return found[0]


async def pages_of(visitor: Visitor, session: str) -> list[str]:
    """Every page with an object that the platform sees."""
    payout = await found_on(visitor, "/console/payouts", r"/console/payouts/dis_\w+")
    hook = await found_on(visitor, "/console/webhooks", r"/console/webhooks/whe_\w+")
    event = await found_on(visitor, "/console/events", r"/console/events/evt_\w+")
    return [*LISTS, f"/console/sessions/{session}", payout, hook, event, "/console/parties/DE-ABC"]


async def test_every_page_renders_for_every_role_of_the_platform(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    paths = await pages_of(await console.signed_in(), session)
    for role in PersonRole:
        visitor = await console.signed_in(role=role)
        for path in paths:
            answer = await visitor.get(path)
            wanted = 403 if path == "/console/people" and role is not PersonRole.ADMINISTRATOR else 200
            assert answer.status == wanted, f"{role} {path}: {answer.text[:500]}"
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert "<script>document" not in answer.text
            assert "<img src=x" not in answer.text
            assert " style=" not in answer.text


async def test_every_page_of_a_party_renders_for_every_role(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    for role in PersonRole:
        visitor = await console.signed_in(party="parking", role=role)
        home = (await visitor.get("/console")).text
        for path in [*LISTS, f"/console/sessions/{session}"]:
            answer = await visitor.get(path)
            hooks = role in {PersonRole.DEVELOPER, PersonRole.ADMINISTRATOR}
            closed = path in PLATFORM_ONLY or (path in FOR_DEVELOPERS and not hooks)
            closed = closed or (path == "/console/people" and role is not PersonRole.ADMINISTRATOR)
            assert answer.status in ({403, 404} if closed else {200}), f"{role} {path}: {answer.text[:300]}"
            if path in {section.path for section in SECTIONS}:
                assert (f'href="{path}"' in home) is not closed, f"{role} {path}"


async def test_hostile_texts_are_shown_as_text(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    visitor = await console.signed_in()
    for path in (f"/console/sessions/{session}", "/console/parties", "/console/parties/DE-ABC"):
        text = (await visitor.get(path)).text
        assert "&lt;script&gt;document" in text
    typed = await visitor.get("/console/sessions?evse_id=%3Cscript%3Ealert(1)%3C/script%3E&notice=%3Cb%3E")
    assert "<script>alert" not in typed.text
    assert "<b>" not in typed.text


async def test_only_an_acts_own_notice_is_shown(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    visitor, other = await console.signed_in(), await console.signed_in()
    path = f"/console/sessions/{session}"
    assert "Call 0800" not in (await visitor.get(f"{path}?notice=rejected:+Call+0800+1234")).text
    assert "Call 0800" not in (await visitor.get(f"{path}?notice=rejected:+Call+0800+1234&proof=")).text
    answer = await visitor.post(
        f"{path}/refund", {"reason": "duplicate", "amount": "x"}, Referer=visitor.base + path
    )
    back = answer.headers["Location"]
    assert 'role="alert"' in (await visitor.get(back)).text
    assert 'role="alert"' not in (await other.get(back)).text, "it is of one sign-in"
    assert 'role="alert"' not in (await visitor.get(back.replace("rejected", "rejected: by us"))).text


async def test_another_partys_objects_are_not_found(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    platform = await console.signed_in()
    payouts = re.findall(r"/console/payouts/dis_\w+", (await platform.get("/console/payouts")).text)
    hook = await found_on(platform, "/console/webhooks", r"/console/webhooks/whe_\w+")
    event = await found_on(platform, "/console/events", r"/console/events/evt_\w+")
    other = await console.signed_in(party="superapp", role="administrator")
    for path in [f"/console/sessions/{session}", *payouts, hook, event, "/console/parties/DE-ABC"]:
        assert (await other.get(path)).status == 404, path
    for path in (f"/console/sessions/{session}/receipt", f"{payouts[0]}/statement"):
        assert (await other.get(path)).status == 404, path
    refused = await other.post(f"/console/sessions/{session}/refund", {"reason": "duplicate"})
    assert refused.status == 404
    assert session not in (await other.get("/console/sessions")).text
    own = await console.signed_in(party="DE-ABC", role="viewer")
    shown = await own.get(f"/console/sessions/{session}")
    assert shown.status == 200
    text = shown.text
    assert 'id="payables"' in text
    assert "session:transit" not in text  # the journal is of every party's money: the platform's alone
    assert 'id="journal"' not in text


async def test_a_viewer_sees_no_form_and_can_send_none(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    viewer = await console.signed_in(role="viewer")
    page = (await viewer.get(f"/console/sessions/{session}")).text
    assert re.findall(r'method="post" action="([^"]+)"', page) == ["/console/sign-out"] * 2
    csrf = await viewer.csrf()
    for path in FORMS:
        filled = re.sub(r"\{[^}]+\}", session, path)
        form = {
            "reason": "duplicate",
            "act": "test",
            "decision": "approve",
            "note": "x",
            "url": "https://a.example",
        }
        answer = await viewer.post(filled, form, csrf=csrf)
        rejected = answer.status in {403, 404} or "rejected" in answer.headers.get("Location", "")
        assert rejected, f"{path} answered {answer.status}"
    shown = await console.api.call("GET", f"/v1/sessions/{session}", party="admin")
    assert shown.json["capture"]["refunded"] == 0


async def test_a_form_without_the_sessions_token_or_from_another_site_is_rejected(
    console: ConsoleOfTest,
) -> None:
    session = await paid_session(console.api)
    visitor = await console.signed_in(role="finance")
    path, form = f"/console/sessions/{session}/refund", {"reason": "duplicate", "amount": "1.00"}
    stranger = await console.signed_in(role="finance")
    assert (await visitor.post(path, form, csrf="")).status == 403
    assert (await visitor.post(path, form, csrf=await stranger.csrf())).status == 403
    assert (await visitor.post(path, form, **{"Sec-Fetch-Site": "same-site"})).status == 403
    assert (await visitor.post(path, form, Origin="https://evil.example")).status == 403
    assert (await visitor.post("/console/sign-out", csrf="")).status == 403
    shown = await console.api.call("GET", f"/v1/sessions/{session}", party="admin")
    assert shown.json["capture"]["refunded"] == 0


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (CannotConnectNowError("starting up"), 503, "Not available right now"),
        (ValueError("secret detail"), 500, "Something went wrong"),
    ],
)
async def test_a_page_without_a_database_says_so_and_what_to_do(
    console: ConsoleOfTest, error: Exception, status: int, text: str
) -> None:
    class SignInWithoutDatabase(SignInService):
        @override
        async def find(self, token: str, *, in_use: bool = True) -> SignedIn | None:
            raise error

    away = SignInWithoutDatabase(
        pool=console.api.services.pool, clock=console.api.clock, limits=SessionLimits(), provider=None
    )
    application = build_api(console.api.services)
    Console(console.api.services, away).add_to(application)
    visitor = await console.signed_in()
    async with (
        TestServer(application) as server,
        visitor.session.get(server.make_url("/console/sessions")) as answer,
    ):
        shown = await answer.text()
        assert (answer.status, answer.content_type) == (status, "text/html")
        assert text in shown
        assert "Try again" in shown
        assert "secret detail" not in shown
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_a_refund_happens_once_however_often_its_form_is_sent(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    visitor = await console.signed_in(role="support")
    form = {"reason": "duplicate", "amount": "1,50", "once": "form-1"}
    for _ in range(2):
        answer = await visitor.post(f"/console/sessions/{session}/refund", form)
        assert answer.headers["Location"].endswith("notice=done"), answer.headers["Location"]
    refunds = await console.api.call("GET", f"/v1/refunds?session={session}", party="admin")
    assert [one["amount"] for one in refunds.json["data"]] == [150]
    assert "Refund" in (await visitor.get(f"/console/sessions/{session}")).text
    unread = await visitor.post(f"/console/sessions/{session}/refund", form | {"amount": "1.500,00"})
    assert (unread.status, "field=amount" in unread.headers["Location"]) == (303, True)
    acts = await console.api.services.people.list_acts(party_id=None, before=None, limit=10)
    assert [(act.operation, act.subject, act.status) for act in acts if act.operation == "createRefund"] == [
        ("createRefund", session, 201)
    ] * 2


async def test_two_people_decide_and_nobody_approves_their_own_proposal(console: ConsoleOfTest) -> None:
    await paid_session(console.api)
    made = await console.api.call("POST", "/v1/parties/DE-ABC/bank-details", BANK_DETAILS, party="admin")
    assert made.status == 201, made.text
    version = made.json["version"]
    viewer, finance = await console.signed_in(role="viewer"), await console.signed_in(role="finance")
    text = (await finance.get("/console/approvals")).text
    assert "<mark>DE89" in text.replace(" ", "")
    path, form = f"/console/bank-details/DE-ABC/{version}", {"decision": "approve"}
    assert "rejected" in (await viewer.post(path, form)).headers["Location"]
    assert (await finance.post(path, form)).headers["Location"].endswith("notice=done")
    found = await console.api.call("GET", "/v1/parties/DE-ABC/bank-details", party="admin")
    assert finance.person is not None
    assert [(one["state"], one["decided_by"]) for one in found.json["data"]] == [
        ("approved", finance.person.public_id)
    ]


async def test_people_are_invited_by_their_partys_administrator_alone(console: ConsoleOfTest) -> None:
    await paid_session(console.api)
    form = {"name": HOSTILE[:40], "email": "new@example.com", "role": "viewer", "party": "platform"}
    finance = await console.signed_in(party="parking", role="finance")
    assert (await finance.post("/console/people", form)).status == 403
    chief = await console.signed_in(party="parking", role="administrator")
    answer = await chief.post("/console/people", form)
    assert answer.status == 200
    path = re.search(r"/console/sign-in/[\w-]+", answer.text)
    assert path is not None
    made = [
        one for one in await console.api.services.people.list(party_id=None) if one.email == form["email"]
    ]
    assert [(one.party_id, one.created_by) for one in made] == [("parking", chief.person.public_id)]  # type: ignore[union-attr]
    newcomer = console.visitor()
    assert (await newcomer.post(path[0], csrf="")).status == 303
    assert (await newcomer.get("/console/sessions")).status == 200
    platform = await console.signed_in()
    assert platform.person is not None
    foreign = await chief.post(f"/console/people/{platform.person.public_id}", {"act": "revoke"})
    assert foreign.status == 404
    assert (await platform.get("/console")).status == 200


async def test_lists_are_files_too_and_no_cell_is_a_formula(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    visitor = await console.signed_in()
    for path in ("/console/sessions", "/console/payments", "/console/payouts", "/console/documents"):
        answer = await visitor.get(f"{path}?format=csv")
        assert answer.status == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/csv")
    rows = (await visitor.get("/console/sessions?format=csv")).text.splitlines()
    assert rows[1].startswith(f"{session},")
    assert "1190" in rows[1] or ",EUR," in rows[1]


async def test_a_filter_that_the_api_rejects_says_what_is_expected(console: ConsoleOfTest) -> None:
    await paid_session(console.api)
    visitor = await console.signed_in()
    answer = await visitor.get("/console/sessions?from=yesterday")
    assert answer.status == 400
    assert "created_from" in answer.text
    assert (await visitor.get("/console/sessions/ses_nonsense")).status == 404
    kept = await visitor.get("/console/sessions?from=2026-10-29&to=2026-10-29&state=cleared")
    assert kept.text.count("/console/sessions/ses_") > 0
    none = await visitor.get("/console/sessions?from=2026-10-30")
    assert "/console/sessions/ses_" not in none.text


@pytest.mark.parametrize(
    ("language", "word"), [("de", "Ladevorgänge"), ("fr", "Versements"), ("it", "Sessioni")]
)
async def test_pages_speak_the_viewers_language(console: ConsoleOfTest, language: str, word: str) -> None:
    visitor = await console.signed_in()
    headers: dict[str, Any] = {"Accept-Language": f"xx, {language};q=0.8, en;q=0.5"}
    assert word in (await visitor.get("/console", **headers)).text
    assert (await visitor.get(f"/console?lang={language}")).status == 303
    assert word in (await visitor.get("/console")).text  # the choice is kept


async def test_static_files_bear_their_content_in_their_name_and_may_be_kept(console: ConsoleOfTest) -> None:
    visitor = console.visitor()
    page = (await visitor.get("/console/sign-in")).text
    names = re.findall(r"/console/static/[\w-]+\.(?:css|js|svg)", page)
    assert len(set(names)) == 3
    for name in names:
        answer = await visitor.get(name)
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
    assert (await visitor.get("/console/static/console-000000000000.css")).status == 404
    assert re.findall(r"https?://", page) == []


async def test_signing_in_leads_to_the_page_that_was_asked_for(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    _, link = await console.invite()
    visitor = console.visitor()
    sent = await visitor.get(f"/console/sessions/{session}?lines=all")
    assert sent.status == 303
    await visitor.get(sent.headers["Location"])
    entered = await visitor.post(link, csrf="")
    assert entered.headers["Location"] == f"/console/sessions/{session}?lines=all"
    await visitor.post("/console/sign-out")
    _, other = await console.invite()
    assert (await visitor.post(other, csrf="")).headers["Location"] == "/console", "it is asked for once"


async def test_a_link_of_another_site_says_not_where_signing_in_leads(console: ConsoleOfTest) -> None:
    _, link = await console.invite()
    visitor = console.visitor()
    await visitor.get("/console/sign-in?next=https://evil.example/console")
    assert (await visitor.post(link, csrf="")).headers["Location"] == "/console"


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/console?range=today%26day=2026-10-29", "/console?range=today&day=2026-10-29"),
        ("//evil.example", "/console"),
    ],
)
async def test_a_link_leads_to_the_page_that_it_names(
    console: ConsoleOfTest, wanted: str, leads_to: str
) -> None:
    _, link = await console.invite()
    visitor = console.visitor()
    assert (await visitor.get(f"{link}?next={wanted}")).status == 200
    assert (await visitor.post(f"{link}?next={wanted}", csrf="")).headers["Location"] == leads_to


async def test_whoever_asks_too_often_is_shown_when_to_try_again(
    console: ConsoleOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exceeded(*_: object, **__: object) -> None:
        raise RateLimitExceededError("too many", headers={"Retry-After": "7"})

    visitor = await console.signed_in()
    monkeypatch.setattr(RateLimiter, "take", exceeded)
    answer = await visitor.get("/console/sessions")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


async def test_a_dispute_is_in_the_timeline_of_its_session(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    visitor = await console.signed_in()
    before = (await visitor.get(f"/console/sessions/{session}")).text
    assert catalogue()["event.dispute.opened"]["en"] not in before
    session_id = parse_id("ses", session)
    for state in ("opened", "won"):
        await console.api.services.payments.disputes.record_update(  # type: ignore[attr-defined]
            news(state), shard=shard_of(session_id), session_id=session_id
        )
    shown = (await visitor.get(f"/console/sessions/{session}")).text
    for key in ("event.dispute.opened", "event.dispute.won"):
        assert catalogue()[key]["en"] in shown, key
    events = [(await visitor.get(one)).text for one in re.findall(r"/console/events/evt_\w+", shown)]
    assert any("dispute.opened" in one for one in events)
