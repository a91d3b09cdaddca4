"""Webhook endpoints and API keys in the console: what the API has of them is shown, and changed by forms."""

import csv
import html
import io
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.api_versions import VERSIONS
from gateway.console.views.webhook_forms import change_body, endpoint_body
from gateway.database import Pool
from tests.fakes.console import ConsoleOfTest, Visitor, open_console, paid_session
from tests.fakes.console_webhooks import ANSWER, add_attempts

OLDEST = VERSIONS.names[0]
FORM = {
    "url": "https://127.0.0.1:9/other",
    "events": "capture.succeeded, session.cleared",
    "evse_prefixes": "DE*ABC, CH*",
    "metadata": "order=7",
    "signature": "v1a",
    "api_version": OLDEST,
    "headers": "X-Tenant: blue\n\nX-Token:  s3cret-of-theirs ",
}


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        await paid_session(opened.api)
        yield opened


async def endpoint(console: ConsoleOfTest) -> dict[str, Any]:
    """The newest of the party."""
    listed = await console.api.call("GET", "/v1/webhook-endpoints")
    found: dict[str, Any] = listed.json["data"][0]
    return found


async def text_of(visitor: Visitor, path: str) -> str:
    answer = await visitor.get(path)
    assert answer.status == 200, answer.text[:300]
    assert "<script>document" not in answer.text
    return answer.text


async def test_an_endpoint_is_made_shown_and_changed_as_the_api_has_it(console: ConsoleOfTest) -> None:
    developer = await console.signed_in(party="parking", role="developer")
    made = await developer.post("/console/webhooks", FORM | {"once": "a"})
    found = await endpoint(console)
    page = f"/console/webhooks/{found['id']}"
    assert made.headers["Location"] == f"{page}?notice=done", "no secret to show: its page has the public key"
    assert (found["url"], found["signature"], found["api_version"]) == (FORM["url"], "v1a", OLDEST)
    assert found["events"] == ["capture.succeeded", "session.cleared"]
    assert found["filter"]["evse_prefixes"] == ["DE*ABC", "CH*"]
    assert found["filter"]["metadata"] == {"order": "7"}
    assert sorted(found["headers"]) == ["X-Tenant", "X-Token"]
    shown = await text_of(developer, page)
    for text in (found["public_key"], OLDEST, "X-Tenant", "DE*ABC, CH*", "order=7", "Ed25519"):
        assert text in shown, text
    assert "s3cret-of-theirs" not in shown
    assert f'<option value="{OLDEST}" selected>' in shown

    changes = {
        "act": "change",
        "once": "b",
        "url": "https://127.0.0.1:9/third",
        "events": "*",
        "api_version": VERSIONS.newest,
        "remove.X-Token": "yes",
        "headers": "X-Tenant: green\nX-New: 1",
    }
    done = await developer.post(page, changes)
    assert done.headers["Location"].endswith("notice=done")
    found = await endpoint(console)
    assert (found["url"], found["events"], found["filter"]) == ("https://127.0.0.1:9/third", ["*"], None)
    assert (sorted(found["headers"]), found["api_version"]) == (["X-New", "X-Tenant"], VERSIONS.newest)
    wrong = await developer.post(page, changes | {"once": "c", "headers": "Content-Length: 4"})
    assert "rejected" in wrong.headers["Location"]

    rotated = await developer.post(page, {"act": "rotate", "signature": "v1", "once": "d"})
    assert "whsec_" in rotated.text
    shown = await text_of(developer, page)
    assert found["public_key"] in shown, "it signs on until the overlap ends"
    assert "whsec_" not in shown
    assert (await endpoint(console))["signature"] == "v1"


async def test_what_a_role_may_not_change_is_shown_to_it_without_forms(console: ConsoleOfTest) -> None:
    found = await endpoint(console)
    page = f"/console/webhooks/{found['id']}"
    finance = await console.signed_in(party="parking", role="administrator")
    assert 'value="change"' in await text_of(finance, page)
    support = await console.signed_in(role="support")
    answer = await support.get(page)
    assert answer.status in {200, 403}
    assert 'value="change"' not in answer.text
    other = await console.signed_in(party="superapp", role="administrator")
    assert (await other.get(page)).status == 404
    before = await endpoint(console)
    await other.post(page, {"act": "change", "url": "https://127.0.0.1:9/theirs", "once": "x"})
    assert await endpoint(console) == before


async def test_each_attempt_of_a_delivery_is_shown_with_what_was_answered(
    console: ConsoleOfTest, pool: Pool
) -> None:
    path, event = await add_attempts(pool)
    developer = await console.signed_in(party="parking", role="developer")
    hook = path.partition("/deliveries/")[0]
    assert f'<a href="{path}">3</a>' in await text_of(developer, hook)
    shown = await text_of(developer, path)
    assert html.escape(ANSWER, quote=False).split("\n")[0][:20] in shown
    assert "the body of an answer" in shown
    assert "its first KiB" in shown
    assert shown.count("no answer within 10 s") == 2
    assert re.findall(r"(HTTP 500|no answer) · (\d+) ms", shown) == [
        ("HTTP 500", "41"),
        ("no answer", "10000"),
        ("no answer", "10000"),
    ]
    file = await developer.get(f"{path}?format=csv")
    rows = list(csv.DictReader(io.StringIO(file.content.decode("utf-8-sig"))))
    assert [(row["event"], row["status"], row["answer_cut"]) for row in rows] == [
        (event, "500", "true"),
        (event, "", "false"),
        (event, "", "false"),
    ]
    other = await console.signed_in(party="superapp", role="developer")
    assert (await other.get(path)).status == 404


async def test_a_key_shows_its_version_and_is_given_another(console: ConsoleOfTest) -> None:
    chief = await console.signed_in(party="parking", role="administrator")
    form = {"scope.capture:read": "yes", "api_version": OLDEST, "once": "one"}
    assert (await chief.post("/console/keys", form)).status == 200

    async def key() -> dict[str, Any]:
        listed = await console.api.call("GET", "/v1/parties/parking/api-keys", party="admin")
        found: dict[str, Any] = listed.json["data"][-1]
        return found

    found = await key()
    assert found["api_version"] == OLDEST
    assert f'<option value="{OLDEST}" selected>' in await text_of(chief, "/console/keys")
    pinned = await chief.post(
        f"/console/keys/{found['id']}", {"act": "pin", "api_version": VERSIONS.newest, "once": "two"}
    )
    assert pinned.headers["Location"].endswith("notice=done")
    assert (await key())["api_version"] == VERSIONS.newest
    wrong = await chief.post(
        f"/console/keys/{found['id']}", {"act": "pin", "api_version": "2020-01-01", "once": "three"}
    )
    assert "rejected" in wrong.headers["Location"]
    developer = await console.signed_in(party="parking", role="developer")
    shown = await text_of(developer, "/console/keys")
    assert VERSIONS.newest in shown
    assert 'value="pin"' not in shown
    answer = await developer.post(
        f"/console/keys/{found['id']}", {"act": "pin", "api_version": OLDEST, "once": "four"}
    )
    assert "rejected" in answer.headers["Location"]
    assert (await key())["api_version"] == VERSIONS.newest


async def test_events_are_newest_first_page_by_page(console: ConsoleOfTest) -> None:
    for number in range(24):
        assert (await console.api.authorize(key=f"more{number}")).status == 201
    console.api.clock.pass_wall(5)
    forward = (await console.api.call("GET", "/v1/events?limit=100", party="admin")).json
    ids = [one["id"] for one in forward["data"]]
    assert (len(ids) > 25, forward["has_more"], ids) == (True, False, sorted(ids)), "the API's order stays"
    back: list[str] = []
    address = "/v1/events?limit=10&order=newest_first"
    while True:
        found = (await console.api.call("GET", address, party="admin")).json
        back += [one["id"] for one in found["data"]]
        if not found["has_more"]:
            break
        address = f"/v1/events?limit=10&order=newest_first&cursor={found['next_cursor']}"
    assert back == ids[::-1]
    wrong = await console.api.call("GET", "/v1/events?order=newest", party="admin")
    assert (wrong.status, wrong.json["code"]) == (400, "invalid_parameters")
    own = (await console.api.call("GET", "/v1/events?limit=100&order=newest_first")).json["data"]
    assert 0 < len(own) < len(ids), "a party sees its own"

    visitor = await console.signed_in()
    first = await text_of(visitor, "/console/events")
    rows = r'<th scope="row"><a href="/console/events/(evt_\w+)"'
    assert re.findall(rows, first) == back[:25]
    following = re.search(r'href="(/console/events\?cursor=[^"]+)" rel="next"', first)
    assert following is not None
    assert re.findall(rows, await text_of(visitor, html.unescape(following[1]))) == back[25:50]
    file = await visitor.get("/console/events?format=csv&type=capture.succeeded")
    listed = list(csv.DictReader(io.StringIO(file.content.decode("utf-8-sig"))))
    assert [one["id"] for one in listed] == [
        one["id"] for one in forward["data"][::-1] if one["type"] == "capture.succeeded"
    ]


def test_a_form_left_empty_is_left_to_the_api() -> None:
    assert endpoint_body({"url": "https://a.example"}) == {
        "url": "https://a.example",
        "events": ["*"],
        "filter": None,
        "headers": {},
    }
    assert change_body({"url": "https://a.example", "events": " "}) == {
        "url": "https://a.example",
        "events": ["*"],
        "filter": {},
    }
