"""People sign in with a link, once; their session ends idle, in the end, by hand and by revocation."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.database import Pool
from gateway.people.person import SessionLimits
from gateway.scopes import ALL_SCOPES
from tests.fakes.console import ConsoleOfTest, open_console

ROOT = Path(__file__).parents[2]


async def acts_of(console: ConsoleOfTest) -> list[tuple[str, int]]:
    found = await console.api.services.people.list_acts(party_id=None, before=None, limit=50)
    return [(act.operation, act.status) for act in reversed(found)]


async def test_a_link_signs_in_once_and_the_cookie_is_not_for_scripts_or_other_sites(pool: Pool) -> None:
    async with open_console(pool) as console:
        person, path = await console.invite()
        visitor = console.visitor()
        shown = await visitor.get(path)
        assert shown.status == 200
        assert "Set-Cookie" not in shown.headers  # a mail filter opens links: opening one uses nothing
        answer = await visitor.post(path, csrf="")
        assert (answer.status, answer.headers["Location"]) == (303, "/console")
        (cookie,) = [text for text in answer.headers.getall("Set-Cookie") if "Max-Age=0" not in text]
        assert cookie.startswith("networkcore_session=")
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
        assert (await visitor.get("/console")).status == 200

        other = console.visitor()
        again = await other.post(path, csrf="")
        assert again.status == 403
        assert "did not sign you in" in again.text
        assert (await other.get("/console")).status == 303
        assert await acts_of(console) == [("signIn", 201)]
        assert person.public_id.startswith("psn_")


async def test_over_https_the_cookie_is_secure_and_of_this_host_alone(pool: Pool) -> None:
    async with open_console(pool, base_url="https://gateway.example") as console:
        _, path = await console.invite()
        answer = await console.visitor().post(path, csrf="")
        cookies = [text for text in answer.headers.getall("Set-Cookie") if "Max-Age=0" not in text]
        (cookie,) = cookies
        assert cookie.startswith("__Host-networkcore_session=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "Domain" not in cookie


async def test_a_sign_in_gives_a_new_session_and_ends_the_one_before(pool: Pool) -> None:
    async with open_console(pool) as console:
        visitor = await console.signed_in()
        assert visitor.person is not None
        jar = visitor.session.cookie_jar
        first = {cookie.key: cookie.value for cookie in jar}["networkcore_session"]
        made = await console.api.services.people.link(
            visitor.person.id, party_id=None, by="admin", maker=ALL_SCOPES
        )
        assert (await visitor.post(f"/console/sign-in/{made.token}", csrf="")).status == 303
        second = {cookie.key: cookie.value for cookie in jar}["networkcore_session"]
        assert first != second
        assert await console.sign_in.find(first) is None
        assert await console.sign_in.find(second) is not None


async def test_a_session_ends_idle_and_at_its_absolute_end(pool: Pool) -> None:
    limits = SessionLimits(idle=timedelta(minutes=30), absolute=timedelta(hours=2))
    async with open_console(pool, limits=limits) as console:
        idle, busy = await console.signed_in(), await console.signed_in()
        for _ in range(5):
            console.api.clock.pass_wall(20 * 60)
            assert (await busy.get("/console")).status == 200
        assert (await idle.get("/console")).status == 303
        console.api.clock.pass_wall(20 * 60)
        assert (await busy.get("/console")).status == 303  # in use all the time, and over all the same


async def test_signing_out_ends_this_browser_and_everywhere_ends_them_all(pool: Pool) -> None:
    async with open_console(pool) as console:
        one = await console.signed_in()
        assert one.person is not None
        two = console.visitor()
        made = await console.api.services.people.link(
            one.person.id, party_id=None, by="admin", maker=ALL_SCOPES
        )
        await two.post(f"/console/sign-in/{made.token}", csrf="")
        assert (await one.post("/console/sign-out")).status == 303
        assert (await one.get("/console")).status == 303
        assert (await two.get("/console")).status == 200

        three = console.visitor()
        made = await console.api.services.people.link(
            one.person.id, party_id=None, by="admin", maker=ALL_SCOPES
        )
        await three.post(f"/console/sign-in/{made.token}", csrf="")
        assert (await two.post("/console/sign-out", {"everywhere": "yes"})).status == 303
        assert (await three.get("/console")).status == 303
        assert [name for name, _ in await acts_of(console)][-1] == "signOutEverywhere"


async def test_revoking_a_person_ends_sessions_and_links_at_once(pool: Pool) -> None:
    async with open_console(pool) as console:
        visitor = await console.signed_in()
        assert visitor.person is not None
        made = await console.api.services.people.link(
            visitor.person.id, party_id=None, by="admin", maker=ALL_SCOPES
        )
        gone = await console.api.call("DELETE", f"/v1/people/{visitor.person.public_id}", party="admin")
        assert gone.status == 204
        assert (await visitor.get("/console")).status == 303
        assert (await console.visitor().post(f"/console/sign-in/{made.token}", csrf="")).status == 403
        again = await console.api.call("DELETE", f"/v1/people/{visitor.person.public_id}", party="admin")
        assert again.status == 404


async def test_a_link_ends_after_a_day_and_with_the_next_link(pool: Pool) -> None:
    async with open_console(pool) as console:
        person, old = await console.invite()
        made = await console.api.services.people.link(person.id, party_id=None, by="admin", maker=ALL_SCOPES)
        assert (await console.visitor().post(old, csrf="")).status == 403
        console.api.clock.pass_wall(24 * 3600)
        assert (await console.visitor().post(f"/console/sign-in/{made.token}", csrf="")).status == 403


async def test_sign_in_is_limited_by_address_and_forms_of_other_sites_are_rejected(pool: Pool) -> None:
    async with open_console(pool) as console:
        visitor = console.visitor()
        _, path = await console.invite()
        foreign = await visitor.post(path, csrf="", **{"Sec-Fetch-Site": "cross-site"})
        assert foreign.status == 403
        elsewhere = await visitor.post(path, csrf="", Origin="https://evil.example")
        assert elsewhere.status == 403, "a browser without Fetch Metadata says the origin"
        answers = [(await visitor.post("/console/sign-in/guess", csrf="")).status for _ in range(30)]
        assert set(answers) == {403, 429}
        assert (await visitor.post(path, csrf="")).status == 429


async def test_people_by_the_api_are_invited_linked_listed_and_their_acts_shown(pool: Pool) -> None:
    async with open_console(pool) as console:
        api = console.api
        body = {"email": "Tim@Example.com", "name": "Tim", "role": "finance"}
        made = await api.call("POST", "/v1/parties/parking/people", body, party="admin", key="p1")
        assert made.status == 201, made.text
        assert (made.json["email"], made.json["role"], made.json["created_by"]) == (
            "tim@example.com",
            "finance",
            "admin",
        )
        twice = await api.call("POST", "/v1/parties/superapp/people", body, party="admin")
        assert (twice.status, twice.json["code"]) == (409, "already_exists")
        nowhere = await api.call(
            "POST", "/v1/parties/nobody/people", body | {"email": "a@b.ch"}, party="admin"
        )
        assert nowhere.status == 404
        assert (await api.call("POST", "/v1/parties/parking/people", body, party="parking")).status == 403
        link = await api.call("POST", f"/v1/people/{made.json['id']}/links", party="admin", key="l1")
        assert link.json["url"].startswith("http://api.test/console/sign-in/")
        replay = await api.call("POST", f"/v1/people/{made.json['id']}/links", party="admin", key="l1")
        assert replay.json["url"] is None
        path = link.json["url"].removeprefix("http://api.test")
        assert (await console.visitor().post(path, csrf="")).status == 303
        listed = (await api.call("GET", "/v1/people?party=parking", party="admin")).json["data"]
        assert [one["id"] for one in listed] == [made.json["id"]]
        acts = (await api.call("GET", "/v1/people-acts", party="admin")).json["data"]
        assert [(one["person"], one["operation"]) for one in acts] == [(made.json["id"], "signIn")]


async def test_nobody_gives_a_role_that_does_more_than_they_may(pool: Pool) -> None:
    async with open_console(pool) as console:
        api = console.api
        made = await api.call(
            "POST", "/v1/parties/parking/api-keys", {"scopes": ["keys:write"]}, party="admin"
        )
        assert made.status == 201, made.text
        api.keys["clerk"] = made.json["api_key"]
        body = {"email": "eve@example.com", "name": "Eve", "role": "administrator"}
        refused = await api.call("POST", "/v1/parties/parking/people", body, party="clerk")
        assert (refused.status, refused.json["code"]) == (403, "missing_scope")
        elsewhere = await api.call("POST", "/v1/parties/superapp/people", body, party="clerk")
        assert elsewhere.status == 404
        chief, _ = await console.invite(party="parking")
        link = await api.call("POST", f"/v1/people/{chief.public_id}/links", party="clerk")
        assert link.status == 403  # who holds the link may do what the person may
        other, _ = await console.invite()
        assert (await api.call("DELETE", f"/v1/people/{other.public_id}", party="clerk")).status == 404


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["invite", "--email", "a@b.ch", "--name", "A", "--role", "king"], 2),
        (["invite", "--email", "a@b.ch", "--name", "A", "--role", "viewer", "--party", "nobody"], 2),
        (["revoke", "psn_01jd2w3x4y5z6a7b8c9d0e1f2g"], 2),
    ],
)
async def test_the_command_says_in_one_line_what_it_expects(
    pool: Pool, database_url: str, arguments: list[str], status: int
) -> None:
    done = _people(database_url, *arguments)
    assert done.returncode == status
    assert len(done.stderr.strip().splitlines()) == 1


async def test_people_by_the_command_line(pool: Pool, database_url: str) -> None:
    async with open_console(pool) as console:
        who = ("--email", "a@b.ch", "--name", "Anna Keller", "--role", "administrator")
        done = _people(database_url, "invite", *who)
        assert done.returncode == 0, done.stderr
        name, address = done.stdout.split()
        path = "/console/" + address.partition("/console/")[2]
        visitor = console.visitor()
        assert (await visitor.post(path, csrf="")).status == 303
        assert _people(database_url, "revoke", name).stdout == "revoked\n"
        assert "revoked" in _people(database_url, "list", "--party", "platform").stdout


def _people(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gateway", "people", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
