"""The version of a request: by its header, else by its key, in every answer; older shapes at the edge."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.api.versioning import HEADER
from gateway.api_versions import NEWEST, VERSIONS
from gateway.database import Pool
from gateway.version_rules import ApiVersion, Deprecation, VersionCatalogue, VersionChange, renamed
from tests.fakes.api import open_api
from tests.fakes.parties import create_party

FIRST = VERSIONS.names[0]
KEYS = "/v1/parties/parking/api-keys"
older_url, newer_url = renamed("address", "url")
_, newer_kind = renamed("kind", "type")
# A change of the tests: the product has none of a request yet.
MOVED = VersionCatalogue(
    versions=(*VERSIONS.versions, ApiVersion(name="2027-01-01", about="A test's.")),
    changes=(
        *VERSIONS.changes,
        VersionChange(
            version="2027-01-01",
            about="url was address",
            answers={"webhook_endpoint": older_url},
            requests={"createWebhookEndpoint": newer_url},
            queries={"listEvents": newer_kind},
        ),
    ),
    operations={
        "listEvents": Deprecation(
            since=datetime(2027, 1, 1, tzinfo=UTC),
            until=datetime(2028, 1, 1, tzinfo=UTC),
            instead="Use webhooks.",
        )
    },
)


async def test_every_answer_names_its_version_also_a_rejection(pool: Pool) -> None:
    async with open_api(pool) as api:
        for path, party, status in (
            ("/v1/webhook-endpoints", "parking", 200),
            ("/v1/webhook-endpoints", None, 401),
            ("/v1/captures/none", "parking", 404),
            ("/v1/nothing", "parking", 404),
            ("/v1/events?limit=no", "parking", 400),
        ):
            answer = await api.call("GET", path, party=party)
            assert (answer.status, answer.headers[HEADER]) == (status, NEWEST)
        page = await api.call("GET", "/openapi.json", party=None)
        assert HEADER not in page.headers


async def test_a_query_string_of_an_older_version_is_turned_too(pool: Pool) -> None:
    """`type` was `kind` before the tests' newest version; which one is right is the version's to say."""
    async with open_api(pool, versions=MOVED) as api:
        await api.authorize(key="a")
        old, new = {HEADER: NEWEST}, {HEADER: "2027-01-01"}
        for name, headers, status in (
            ("kind", old, 200),
            ("type", new, 200),
            ("kind", new, 400),
            ("colour", old, 400),
        ):
            path = f"/v1/events?{name}=capture.failed&limit=5"
            answer = await api.call("GET", path, headers=headers)
            assert answer.status == status, f"{name} {headers}: {answer.text}"
            if status == 200:
                assert answer.json["data"] == [], "the filter is the one that was asked for"
            else:
                assert answer.json["errors"][0]["pointer"] == f"/{name}"
        unknown = await api.call("GET", "/v1/events", headers={HEADER: "2020-01-01"})
        assert (unknown.status, unknown.json["code"]) == (400, "unknown_api_version")


async def test_a_header_overrides_the_pin_for_one_request(pool: Pool) -> None:
    async with open_api(pool) as api:
        await create_party(api, "NL-NEW", country="NL", vat_id="NL004495445B01")
        path = "/v1/parties/NL-NEW/vat"
        newest = await api.call("GET", path, party="admin")
        assert newest.status == 200, newest.text
        older = await api.call("GET", path, party="admin", headers={HEADER: FIRST})
        assert older.headers[HEADER] == FIRST
        assert [one["of_establishment"] for one in newest.json["ids"]]
        assert [one["seat"] for one in older.json["ids"]] == [
            one["of_establishment"] for one in newest.json["ids"]
        ]
        assert not any("of_establishment" in one for one in older.json["ids"])


async def test_an_unknown_version_is_rejected_with_the_known_ones(pool: Pool) -> None:
    async with open_api(pool) as api:
        answer = await api.call("GET", "/v1/events", headers={HEADER: "2020-01-01"})
        assert (answer.status, answer.json["code"]) == (400, "unknown_api_version")
        assert answer.json["known_versions"] == list(VERSIONS.names)
        assert answer.json["errors"] == [
            {"pointer": HEADER, "expected": f"one of {', '.join(VERSIONS.names)}"}
        ]
        assert answer.headers[HEADER] == NEWEST
        # Who is not known learns nothing but that.
        stranger = await api.call("GET", "/v1/events", party=None, headers={HEADER: "2020-01-01"})
        assert stranger.status == 401


async def test_a_key_is_pinned_to_the_newest_version_and_may_be_pinned_anew(pool: Pool) -> None:
    async with open_api(pool) as api:
        made = await api.call("POST", KEYS, {"scopes": ["webhooks", "keys:write"]}, party="admin")
        assert (made.status, made.json["api_version"]) == (201, NEWEST)
        old = await api.call("POST", KEYS, {"scopes": ["webhooks"], "api_version": FIRST}, party="admin")
        assert old.json["api_version"] == FIRST
        api.keys["old"] = old.json["api_key"]
        api.keys["own"] = made.json["api_key"]
        answer = await api.call("GET", "/v1/webhook-endpoints", party="old")
        assert answer.headers[HEADER] == FIRST
        # An endpoint has the version of the request that makes it.
        endpoint = await api.call(
            "POST", "/v1/webhook-endpoints", {"url": "https://partner.example/in"}, party="old"
        )
        assert endpoint.json["api_version"] == FIRST

        path = f"{KEYS}/{old.json['id']}"
        changed = await api.call("PATCH", path, {"api_version": NEWEST}, party="own")
        assert (changed.status, changed.json["api_version"]) == (200, NEWEST)
        assert (await api.call("GET", "/v1/webhook-endpoints", party="old")).headers[HEADER] == NEWEST
        assert (await api.call("PATCH", path, {"api_version": FIRST}, party="old")).status == 403
        wrong = await api.call("PATCH", path, {"api_version": "2020-01-01"}, party="admin")
        assert (wrong.json["code"], wrong.json["errors"][0]["pointer"]) == (
            "unknown_api_version",
            "/api_version",
        )
        foreign = path.replace("parking", "superapp")
        assert (await api.call("PATCH", foreign, {"api_version": NEWEST}, party="admin")).status == 404

        pinned = await api.call("PATCH", path, {"api_version": FIRST}, party="admin")
        rotated = await api.call("POST", f"{path}/rotate", {}, party="admin")
        assert (pinned.json["api_version"], rotated.json["api_version"]) == (FIRST, FIRST)


async def test_an_older_request_is_understood_and_answered_in_its_shape(pool: Pool) -> None:
    async with open_api(pool, versions=MOVED) as api:
        body: dict[str, Any] = {"address": "https://partner.example/in"}
        path = "/v1/webhook-endpoints"
        older = {HEADER: NEWEST}
        made = await api.call("POST", path, body, headers=older, key="k1")
        assert (made.status, made.json["address"]) == (201, body["address"])
        assert "url" not in made.json
        # A replay is the same answer, in the version that the repeat names.
        again = await api.call("POST", path, body, headers=older, key="k1")
        assert again.json["address"] == body["address"]
        assert again.headers["Idempotent-Replayed"] == "true"
        listed = await api.call("GET", path, headers=older)
        assert [one["address"] for one in listed.json["data"]] == [body["address"]]
        assert [
            one["url"] for one in (await api.call("GET", path, headers={HEADER: "2027-01-01"})).json["data"]
        ]
        newest = await api.call("POST", path, body, headers={HEADER: "2027-01-01"}, key="k2")
        assert newest.status == 400


async def test_what_is_deprecated_says_since_when_until_when_and_where_to_read_on(pool: Pool) -> None:
    async with open_api(pool, versions=MOVED) as api:
        answer = await api.call("GET", "/v1/events?limit=no")
        assert answer.status == 400  # also a rejection says it
        assert answer.headers["Deprecation"] == f"@{int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())}"
        assert answer.headers["Sunset"] == "Sat, 01 Jan 2028 00:00:00 GMT"
        assert 'rel="deprecation"' in answer.headers["Link"]
        other = await api.call("GET", "/v1/webhook-endpoints")
        assert {"Deprecation", "Sunset", "Link"}.isdisjoint(other.headers)


@pytest.mark.parametrize("version", VERSIONS.names)
async def test_events_are_read_in_the_version_of_the_request(pool: Pool, version: str) -> None:
    async with open_api(pool) as api:
        answer = await api.call("GET", "/v1/events", headers={HEADER: version})
        assert (answer.status, answer.headers[HEADER]) == (200, version)
