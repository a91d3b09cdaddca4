"""A contract pool's events at the API: taken in once and in order, and a sold vehicle no longer charges."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from gateway.adapters.opcp import OpcpProtocol
from gateway.adapters.opcp_directory import OpcpDirectory
from gateway.cli.contract_pool import command
from gateway.database import Pool
from gateway.errors import ConfigurationError
from gateway.jobs.contract_pool import ContractPoolJob
from gateway.plug_and_charge.contract_pool_lookup import ContractPoolLookupService
from gateway.plug_and_charge.contract_pool_service import ContractPoolService, reencrypt_feed_secrets
from gateway.webhooks.secret_cipher import SecretCipher
from sandbox.contract_pool.events import SandboxContractPool
from sandbox.contract_pool.server import ContractPoolServer, PoolClient, PublishedContract
from sandbox.pki.hierarchy import Issued
from tests.fakes.api import START, Answer
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api, statuses
from tests.fakes.pnc_market import EMAID

SECRET = "a-webhook-secret-of-the-pool"
NEW = "DE8AAC87654321"
CAR, OTHER_CAR = "WMI12345671234567", "WMI99999991234567"
CREATED, UPDATED = "mo.contract.created.sent.to.oem", "mo.contract.updated.sent.to.oem"
DELETED = "mo.contract.deleted.sent.to.oem"
KEY_REPLACED, VEHICLE_DELETED = "mo.prov.cert.updated", "mo.prov.cert.deleted"
RESET, DELIVERED = "mo.prov.cert.factory.reset", "mo.contract.delivered.to.oem"
EVENTS = f"{ROOT}/contract-pool-feeds/superapp/events"


@dataclass
class Feed:
    """A station's API with the feed of the party `superapp`."""

    station: StationApi

    async def call(self, method: str, path: str, body: Any = None, *, party: str = "superapp") -> Answer:
        return await self.station.api.call(method, f"{ROOT}/{path}", body, party=f"{party}-contracts")

    async def set_up(self, **changes: Any) -> Answer:
        authorities = self.station.pki.second.pem + self.station.pki.first.pem
        body = {"secret": SECRET, "authorities": authorities} | changes
        return await self.call("PUT", "contract-pool-feeds/superapp", body)

    async def send(
        self,
        event_type: str,
        *,
        emaid: str = EMAID,
        leaf: Issued | None = None,
        minutes: float = 0,
        vehicle: str = CAR,
        event_id: UUID | None = None,
        secret: str = SECRET,
        party: str = "superapp",
    ) -> Answer:
        sent = SandboxContractPool(secret).delivery(
            event_type,
            event_id=event_id or uuid4(),
            emaid=emaid,
            vehicle=vehicle,
            at=START + timedelta(minutes=minutes),
            certificate=None if leaf is None else base64.b64encode(leaf.der).decode(),
        )
        path = f"{ROOT}/contract-pool-feeds/{party}/events"
        return await self.station.api.call("POST", path, sent.body, party=None, headers=dict(sent.headers))

    def issue(self, emaid: str, **changes: object) -> Issued:
        leaf = self.station.pki.issue(emaid, **changes)
        self.station.fetcher.know(self.station.pki.second, leaf)
        return leaf

    async def charge(self, ref: str, *, leaf: Issued | None = None, emaid: str = EMAID) -> tuple[str, str]:
        bundle = self.station.pki.bundle(leaf or self.station.leaf)
        token = {"idToken": {"idToken": emaid, "type": "eMAID"}, "certificate": bundle}
        return statuses(await self.station.plug_in(ref=ref, request=token))

    async def events(self, state: str | None = None) -> list[dict[str, Any]]:
        query = "" if state is None else f"?state={state}"
        found = await self.call("GET", f"contract-pool-feeds/superapp/events{query}")
        assert found.status == 200, found.text
        return list(found.json["data"])

    async def contract(self, emaid: str = EMAID) -> dict[str, Any]:
        listed = (await self.call("GET", "contracts")).json["data"]
        return next(item for item in listed if item["emaid"] == emaid)


@dataclass
class Asked:
    """A feed whose pool is asked, and the job that asks it."""

    feed: Feed
    pool: ContractPoolServer
    job: ContractPoolJob
    lookup: dict[str, str]

    def publish(self, emaid: str, leaf: Issued) -> None:
        certificate = leaf.certificate
        self.pool.published[emaid] = [
            PublishedContract(
                pcid=CAR,
                certificate=base64.b64encode(leaf.der).decode(),
                valid_from=certificate.not_valid_before_utc.isoformat(),
                valid_to=certificate.not_valid_after_utc.isoformat(),
            )
        ]

    async def shown(self) -> dict[str, Any]:
        (found,) = (await self.feed.call("GET", "contract-pool-feeds")).json["data"]
        return dict(found["lookup"])

    def pass_time(self, *, minutes: float) -> None:
        self.feed.station.api.clock.pass_wall(minutes * 60)

    async def run(self) -> None:
        self.pass_time(minutes=0.2)
        await self.job.run_once()

    async def run_round(self) -> None:
        """Whatever is due a day later."""
        self.pass_time(minutes=24 * 60)
        await self.run()


@pytest.fixture
async def feed(pool: Pool) -> AsyncIterator[Feed]:
    async with open_station_api(pool) as station:
        for party in ("superapp", "parking"):
            made = await station.api.call(
                "POST",
                f"/v1/parties/{party}/api-keys",
                {"scopes": ["contracts"]},
                party="admin",
                key=f"k-{party}",
            )
            station.api.keys[f"{party}-contracts"] = made.json["api_key"]
        opened = Feed(station)
        assert (await opened.set_up()).status == 200
        yield opened


ACCEPTED = ("Accepted", "Accepted")
BLOCKED = ("Blocked", "ContractCancelled")


async def test_a_sold_vehicle_no_longer_charges_whatever_its_pool_publishes_later(feed: Feed) -> None:
    await feed.send(CREATED, leaf=feed.station.leaf)
    assert await feed.charge("a") == ACCEPTED
    assert (await feed.send(RESET, minutes=1)).json == {"received": True}
    assert await feed.charge("b") == ("Invalid", "CertificateRevoked")
    assert (await feed.contract())["state"] == "blocked"
    later = feed.issue(EMAID)
    await feed.send(CREATED, leaf=later, minutes=2)
    assert await feed.charge("c", leaf=later) == BLOCKED
    (waiting,) = await feed.events("waiting")
    assert (waiting["reason"], waiting["type"]) == ("vehicle_was_reset", CREATED)
    # The eMSP has asked its customer: the contract goes on in this vehicle.
    assert (await feed.call("POST", f"contracts/{EMAID}/unblock")).status == 200
    applied = await feed.call("POST", f"contract-pool-events/{waiting['id']}/apply")
    assert applied.json["state"] == "applied", applied.text
    assert await feed.charge("d", leaf=later) == ACCEPTED
    assert await feed.charge("e") == ("Invalid", "CertificateRevoked")  # the certificate from before


async def test_an_older_event_never_overwrites_a_newer_one_in_any_order_of_arrival(feed: Feed) -> None:
    renewed = feed.issue(EMAID)
    await feed.send(UPDATED, leaf=renewed, minutes=5)
    for event_type in (RESET, DELETED, VEHICLE_DELETED, KEY_REPLACED, CREATED):
        await feed.send(event_type, leaf=feed.station.leaf if event_type == CREATED else None, minutes=4)
    assert await feed.charge("a", leaf=renewed) == ACCEPTED
    assert len(await feed.events("superseded")) == 5
    await feed.send(DELETED, minutes=9)
    await feed.send(UPDATED, leaf=feed.issue(EMAID), minutes=8)
    assert await feed.charge("b", leaf=renewed) == BLOCKED


async def test_the_same_event_counts_once_even_when_it_comes_many_times_at_once(feed: Feed) -> None:
    event_id = uuid4()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(feed.send(DELETED, event_id=event_id)) for _ in range(8)]
    assert {call.result().status for call in calls} == {200}
    assert len(await feed.events()) == 1
    history = (await feed.call("GET", f"contracts/{EMAID}/history")).json["data"]
    assert [change["kind"] for change in history] == ["created", "blocked"]
    assert (history[1]["actor"], history[1]["reason"]) == ("superapp", f"contract pool: {DELETED}")
    await feed.call("POST", f"contracts/{EMAID}/unblock")
    await feed.send(DELETED, event_id=event_id)  # sent again an hour later
    assert (await feed.contract())["state"] == "active"


async def test_a_deleted_and_published_contract_charges_again_with_its_new_certificate(feed: Feed) -> None:
    await feed.send(CREATED, leaf=feed.station.leaf)
    await feed.send(KEY_REPLACED, minutes=1)
    assert await feed.charge("a") == ("Invalid", "CertificateRevoked")
    await feed.send(VEHICLE_DELETED, minutes=2)
    renewed = feed.issue(EMAID)
    await feed.send(CREATED, leaf=feed.station.leaf, minutes=3)  # the old certificate again
    (waiting,) = await feed.events("waiting")
    assert (waiting["reason"], "blocked" in waiting["detail"]) == ("not_storable", True)
    assert EMAID not in waiting["detail"]
    await feed.send(CREATED, leaf=renewed, minutes=4)
    assert await feed.charge("b", leaf=renewed) == ACCEPTED
    assert await feed.charge("c") == ("Invalid", "CertificateRevoked")


@pytest.mark.parametrize("who", ["superapp-contracts", "admin"])
async def test_a_pool_never_ends_a_block_that_somebody_set(feed: Feed, who: str) -> None:
    path = f"{ROOT}/contracts/{EMAID}/block"
    await feed.send(DELETED, minutes=1)
    await feed.call("POST", f"contracts/{EMAID}/unblock")
    await feed.station.api.call("POST", path, {"reason": "stolen"}, party=who)
    renewed = feed.issue(EMAID)
    await feed.send(CREATED, leaf=renewed, minutes=2)
    assert await feed.charge("a", leaf=renewed) == BLOCKED
    assert (await feed.contract())["state"] == "blocked"


async def test_a_new_contract_waits_for_its_means_of_payment_or_uses_the_funded_account(feed: Feed) -> None:
    leaf = feed.issue(NEW)
    await feed.send(CREATED, emaid="de-8aa-c87654321", leaf=leaf)
    (waiting,) = await feed.events("waiting")
    assert waiting["reason"] == "contract_unknown"
    assert await feed.charge("a", leaf=leaf, emaid=NEW) == ("Unknown", "ContractCancelled")
    queue = await feed.station.api.call("GET", "/v1/exceptions?kind=unapplied_pool_event", party="admin")
    (exception,) = queue.json["data"]
    assert (exception["subject"], exception["party"]) == (waiting["id"], "superapp")
    assert NEW not in queue.text
    state = await feed.set_up(new_contracts="partner_account", secret=None)
    assert (state.json["waiting"], state.json["authorities"]) == (1, True)
    resolve = f"/v1/exceptions/{exception['id']}/resolve"
    done = await feed.station.api.call("POST", resolve, {"note": "on account"}, party="admin", key="r")
    assert (done.status, done.json["state"]) == (200, "resolved"), done.text
    service = feed.station.api.services.contract_pools
    assert service is not None
    job = ContractPoolJob(clock=feed.station.api.clock, pools=service)
    assert (await job.run_once(), await job.run_once()) == (1, 0)
    made = await feed.contract(NEW)
    assert (made["payment_type"], made["sessions_at_once"], made["state"]) == ("partner_account", 1, "active")
    certificates = await feed.call("GET", f"contracts/{NEW}/certificates")
    assert len(certificates.json["data"]) == 1


async def test_a_feed_changes_its_own_partys_contracts_alone(feed: Feed) -> None:
    made = await feed.call("PUT", "contract-pool-feeds/parking", {"secret": "x" * 16}, party="parking")
    assert made.status == 200, made.text
    for minutes, event_type in enumerate((RESET, DELETED, CREATED)):
        sent = await feed.send(
            event_type, leaf=feed.station.leaf, minutes=minutes, secret="x" * 16, party="parking"
        )
        assert sent.status == 200
    assert (await feed.contract())["revision"] == 1
    assert await feed.charge("a") == ACCEPTED
    for method, path, body in (
        ("PUT", "contract-pool-feeds/superapp", {"secret": "y" * 16}),
        ("GET", "contract-pool-feeds/superapp/events", None),
    ):
        assert (await feed.call(method, path, body, party="parking")).status == 404
    listed = (await feed.call("GET", "contract-pool-feeds", party="parking")).json["data"]
    assert [item["party"] for item in listed] == ["parking"]
    await feed.send(CREATED, emaid=NEW)
    (waiting,) = await feed.events("waiting")
    for verb, reason in (("apply", None), ("dismiss", {"reason": "mine"})):
        path = f"contract-pool-events/{waiting['id']}/{verb}"
        assert (await feed.call("POST", path, reason, party="parking")).status == 404


async def test_what_is_not_signed_by_the_partys_pool_is_turned_away(feed: Feed) -> None:
    refused = [
        await feed.send(RESET, secret="another-secret-of-somebody"),
        await feed.send(RESET, party="parking"),
        await feed.send(RESET, party="nobody"),
        await feed.send(RESET, secret="\x00" * 16, party="nobody"),
        await feed.station.api.call("POST", EVENTS, b"{}", party="admin"),
    ]
    assert {(answer.status, answer.json["code"]) for answer in refused} == {(400, "signature_invalid")}
    assert SECRET not in (await feed.call("GET", "contract-pool-feeds")).text
    await feed.set_up(enabled=False)
    assert (await feed.send(RESET)).json["code"] == "signature_invalid"
    assert await feed.events() == []
    assert await feed.charge("a") == ACCEPTED


async def test_an_authentic_body_that_can_not_be_read_is_refused_with_its_place(feed: Feed) -> None:
    refused = await feed.send(CREATED, vehicle="short")
    assert (refused.status, refused.json["code"]) == (400, "invalid_parameters")
    assert "payload.pcid" in refused.text
    await feed.send(DELIVERED)
    assert [event["state"] for event in await feed.events()] == ["ignored"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ((RESET, EMAID, CAR, 60), "dated_ahead"),
        ((CREATED, "DE8", CAR, 0), "not_storable"),
        ((RESET, EMAID, OTHER_CAR, 1), "other_vehicle"),
        ((UPDATED, NEW, CAR, 0), "contract_unknown"),
    ],
)
async def test_what_can_not_be_applied_waits_until_it_is_dismissed(
    feed: Feed, event: tuple[str, str, str, int], reason: str
) -> None:
    event_type, emaid, vehicle, minutes = event
    await feed.send(CREATED)
    sent = await feed.send(event_type, emaid=emaid, vehicle=vehicle, minutes=minutes)
    assert sent.status == 200
    (waiting,) = await feed.events("waiting")
    assert waiting["reason"] == reason
    assert await feed.charge("a") == ACCEPTED
    path = f"contract-pool-events/{waiting['id']}"
    assert (await feed.call("POST", f"{path}/dismiss", {"reason": "an error"})).json["state"] == "dismissed"
    for verb, body in (("apply", None), ("dismiss", {"reason": "again"})):
        assert (await feed.call("POST", f"{path}/{verb}", body)).status == 409


async def test_a_certificate_that_does_not_verify_is_never_registered(feed: Feed) -> None:
    await feed.set_up(authorities="")
    await feed.send(CREATED, leaf=feed.issue(EMAID))  # the sub-authorities are not known
    await feed.send(CREATED, leaf=feed.issue(NEW), minutes=1)  # of another eMAID
    details = [event["detail"] for event in await feed.events("waiting")]
    assert len(details) == 2
    assert not any(EMAID in detail or NEW in detail for detail in details)
    assert (await feed.call("GET", f"contracts/{EMAID}/certificates")).json["data"] == []
    for authorities in (feed.station.leaf.pem, "nonsense"):
        refused = await feed.set_up(authorities=authorities)
        assert (refused.status, refused.json["code"]) == (400, "invalid_parameters")


async def test_an_event_that_a_dead_process_left_is_applied_by_the_job_and_old_ones_are_deleted(
    feed: Feed, pool: Pool
) -> None:
    await feed.send(CREATED, leaf=feed.station.leaf)
    await feed.send(RESET, minutes=1)
    await pool.execute(
        "UPDATE gateway.contract_pool_event SET state = 'pending', decided_at = NULL WHERE name = $1", CREATED
    )
    service = feed.station.api.services.contract_pools
    assert service is not None
    clock = feed.station.api.clock
    job = ContractPoolJob(clock=clock, pools=service)
    assert await job.run_once() == 1
    assert {event["state"] for event in await feed.events()} == {"applied", "superseded"}
    clock.at += timedelta(days=401)
    clock.pass_wall(700)
    assert await job.run_once() == 2
    assert await feed.events() == []
    assert (await feed.contract())["state"] == "blocked"


async def test_an_event_that_fails_waits_and_those_behind_it_are_applied(feed: Feed, pool: Pool) -> None:
    """A defect, here a name of a change that no version knows any more, stops its own event alone."""
    await feed.send(CREATED, leaf=feed.station.leaf)
    await feed.send(RESET, minutes=1)
    await feed.send(DELETED, emaid=NEW, minutes=2)
    await pool.execute("UPDATE gateway.contract_pool_event SET state = 'pending', decided_at = NULL")
    await pool.execute("DELETE FROM gateway.contract_pool_position")
    await pool.execute("UPDATE gateway.contract_pool_event SET change = 'gone' WHERE name = $1", CREATED)
    service = feed.station.api.services.contract_pools
    assert service is not None
    assert await service.apply_pending() == 3
    found = {event["type"]: (event["state"], event["reason"]) for event in await feed.events()}
    assert found == {CREATED: ("waiting", "failed"), RESET: ("applied", ""), DELETED: ("applied", "")}
    (waiting,) = await feed.events("waiting")
    assert "ValueError" in waiting["detail"]
    again = await feed.call("POST", f"contract-pool-events/{waiting['id']}/apply")
    assert (again.status, again.json["state"], again.json["reason"]) == (200, "waiting", "failed")
    queue = await feed.station.api.call("GET", "/v1/exceptions?kind=unapplied_pool_event", party="admin")
    assert [exception["reason"] for exception in queue.json["data"]] == ["failed"]


async def test_a_feed_that_is_switched_off_applies_nothing_until_it_is_on_again(
    feed: Feed, pool: Pool
) -> None:
    await feed.send(CREATED, leaf=feed.station.leaf)
    await feed.send(RESET, vehicle=OTHER_CAR, minutes=1)
    (waiting,) = await feed.events("waiting")
    await feed.send(DELETED, minutes=2)
    await pool.execute(
        "UPDATE gateway.contract_pool_event SET state = 'pending', decided_at = NULL WHERE name = $1", DELETED
    )
    await pool.execute("UPDATE pnc.contract SET state = 'active'")
    await pool.execute(
        "UPDATE gateway.contract_pool_position SET change = 'contract_stored', occurred_at = $1", START
    )
    await feed.set_up(enabled=False, secret=None)
    service = feed.station.api.services.contract_pools
    assert service is not None
    assert await service.apply_pending() == 0
    refused = await feed.call("POST", f"contract-pool-events/{waiting['id']}/apply")
    assert (refused.status, "switched off" in refused.text) == (409, True)
    assert [event["type"] for event in await feed.events("pending")] == [DELETED]
    assert await feed.charge("a") == ACCEPTED
    await feed.set_up(enabled=True, secret=None)
    assert await service.apply_pending() == 1
    assert await feed.charge("b") == BLOCKED


@pytest.fixture
async def asked(feed: Feed) -> AsyncIterator[Asked]:
    """A pool that is asked, too: the stand-in's server, with the party's OAuth client."""
    client = PoolClient(client_id="emsp", client_secret="a-secret", audience="https://pool", provider="DE8AA")
    pool = ContractPoolServer(token="-", client=client)
    async with TestServer(pool.application()) as server:
        base = str(server.make_url("")).rstrip("/")
        lookup = {
            "url": base,
            "token_url": f"{base}/oauth/token",
            "audience": client.audience,
            "client_id": client.client_id,
            "client_secret": "a-secret",
        }
        feeds = feed.station.api.services.contract_pools
        assert feeds is not None
        service = ContractPoolLookupService(
            pool=feeds.pool,
            clock=feed.station.api.clock,
            environment="sandbox",
            secrets=feeds.secrets,
            feeds=feeds,
            directories={"opcp": OpcpDirectory(allow_private=True)},
        )
        job = ContractPoolJob(clock=feed.station.api.clock, pools=feeds, lookups=service)
        yield Asked(feed=feed, pool=pool, job=job, lookup=lookup)


async def test_a_pool_is_asked_for_what_its_lost_events_would_have_said(asked: Asked) -> None:
    feed = asked.feed
    shown = await feed.set_up(lookup=asked.lookup)
    assert (shown.status, shown.json["lookup"]["client_id"]) == (200, "emsp"), shown.text
    assert "a-secret" not in shown.text
    asked.publish(EMAID, feed.station.leaf)
    await asked.run_round()
    later = feed.station.leaf.certificate.not_valid_before_utc + timedelta(minutes=1)
    renewed = feed.issue(EMAID, not_before=later)
    asked.publish(EMAID, renewed)  # its event is lost
    await asked.run_round()
    await asked.run_round()
    assert [(event["type"], event["state"]) for event in await feed.events()] == [("lookup", "applied")] * 2
    certificates = (await feed.call("GET", f"contracts/{EMAID}/certificates")).json["data"]
    assert len(certificates) == 2
    assert await feed.charge("a", leaf=renewed) == ACCEPTED
    asked.pool.published.clear()  # deleted, and its event is lost
    await asked.run_round()
    assert await feed.charge("b", leaf=renewed) == BLOCKED
    await asked.run_round()  # the same answer again
    assert len(await feed.events()) == 3
    # An event that was sent before the answer and comes after it still counts.
    await feed.send(RESET, minutes=1)
    assert [event["state"] for event in await feed.events()][:1] == ["applied"]
    assert await feed.charge("c", leaf=renewed) == ("Invalid", "CertificateRevoked")


async def test_a_contract_that_the_pool_never_reported_is_not_blocked_by_its_silence(asked: Asked) -> None:
    await asked.feed.set_up(lookup=asked.lookup)
    await asked.run_round()
    assert await asked.feed.events() == []
    assert await asked.feed.charge("a") == ACCEPTED


async def test_a_round_that_breaks_off_goes_on_where_it_was(asked: Asked, pool: Pool) -> None:
    feed = asked.feed
    for number in range(25):
        body = {"emaid": f"DE8AAC0000{number:04d}", "valid_from": "2026-10-01T00:00:00Z", "party": "superapp"}
        made = await feed.call("POST", "contracts", body | {"payment": {"type": "partner_account"}})
        assert made.status in {200, 201}, made.text
    await feed.set_up(lookup=asked.lookup)
    await asked.run()
    assert await pool.fetchval("SELECT after_emaid FROM gateway.contract_pool_lookup") == "DE8AAC00000019"
    asked.pool.unavailable = True
    await asked.run()
    assert "503" in (await asked.shown())["problem"]
    assert (await asked.shown())["looked_up_at"] is None
    asked.pool.unavailable = False
    await asked.run()  # not before the pause is over
    assert (await asked.shown())["problem"] != ""
    asked.pass_time(minutes=10)
    await asked.run()
    assert (await asked.shown())["problem"] == ""
    assert (await asked.shown())["looked_up_at"] is not None
    await asked.run()  # the next round is a day later
    assert sorted(asked.pool.looked_up) == [*(f"DE8AAC0000{number:04d}" for number in range(25)), EMAID]


async def test_a_pool_that_gives_no_answer_blocks_nothing_and_is_named(asked: Asked) -> None:
    feed = asked.feed
    await feed.set_up(lookup=asked.lookup | {"client_secret": "wrong"})
    asked.publish(EMAID, feed.station.leaf)
    await asked.run()
    assert (await asked.shown())["problem"] == "the pool's token service answered with the status 401"
    await feed.set_up(lookup=asked.lookup)
    await asked.run_round()
    asked.pool.tokens.clear()  # the pool ends its tokens before their time
    await asked.run_round()
    assert (await asked.shown())["problem"] == ""
    wrong = PublishedContract(pcid=CAR, certificate="%%", valid_from="x", valid_to="x")
    asked.pool.published[EMAID] = [wrong]
    await asked.run_round()
    assert "can't be read" in (await asked.shown())["problem"]
    assert await feed.charge("a") == ACCEPTED
    await feed.set_up(lookup=asked.lookup, enabled=False)
    before = len(asked.pool.looked_up)
    await asked.run_round()
    assert len(asked.pool.looked_up) == before  # a feed that is off asks nobody
    await feed.set_up()
    assert (await feed.call("GET", "contract-pool-feeds")).json["data"][0]["lookup"] is None


@pytest.mark.parametrize(
    "changes", [{"url": "ftp://pool.example"}, {"token_url": "https://u:p@pool.example"}, {"audience": ""}]
)
async def test_a_look_up_that_can_not_be_made_is_refused(asked: Asked, changes: dict[str, str]) -> None:
    refused = await asked.feed.set_up(lookup=asked.lookup | changes)
    assert refused.status in {400, 422}, refused.text
    new = {name: value for name, value in asked.lookup.items() if name != "client_secret"}
    refused = await asked.feed.set_up(lookup=new)
    assert (refused.status, "client_secret" in refused.text) == (400, True), refused.text


async def test_secrets_are_kept_encrypted_and_follow_a_change_of_keys(feed: Feed, pool: Pool) -> None:
    old, new = ("old", b"1" * 32), ("new", b"2" * 32)
    lookup = {"url": "https://pool.example", "token_url": "https://login.example", "audience": "a"}
    assert (
        await feed.set_up(lookup=lookup | {"client_id": "c", "client_secret": "of-the-client"})
    ).status == 200
    assert await reencrypt_feed_secrets(pool, SecretCipher()) == 0
    assert await reencrypt_feed_secrets(pool, SecretCipher((old,))) == 2
    stored = await pool.fetchval("SELECT client_secret FROM gateway.contract_pool_lookup")
    assert b"of-the-client" not in stored
    assert SECRET.encode() not in await pool.fetchval("SELECT secret FROM gateway.contract_pool_feed")
    assert await reencrypt_feed_secrets(pool, SecretCipher((new, old))) == 2
    for keys in ((old,), ()):
        with pytest.raises(ConfigurationError):
            await reencrypt_feed_secrets(pool, SecretCipher(keys))
    known = feed.station.api.services.contract_pools
    assert known is not None
    service = ContractPoolService(
        pool=pool,
        clock=feed.station.api.clock,
        environment="sandbox",
        decisions=known.decisions,
        secrets=SecretCipher((new,)),
        protocols={"opcp": OpcpProtocol()},
    )
    sent = SandboxContractPool(SECRET).delivery(RESET, event_id=uuid4(), emaid=EMAID, vehicle=CAR, at=START)
    await service.receive("superapp", body=sent.body, headers=dict(sent.headers))
    assert [event["state"] for event in await feed.events()] == ["applied"]


async def test_the_command_line_shows_feeds_and_events(
    feed: Feed, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await feed.send(RESET)
    await feed.send(CREATED, emaid=NEW)
    monkeypatch.setenv("DATABASE_URL", database_url)

    async def run(*words: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, command, list(words))

    feeds = await run("feeds", "--json")
    assert feeds.exit_code == 0, feeds.output
    assert '"waiting": 1' in feeds.output
    assert '"applied": 1' in feeds.output
    events = await run("events", "superapp", "--state", "waiting")
    assert "contract_unknown" in events.output
    unknown = await run("events", "parking")
    assert (unknown.exit_code, "no contract pool feed" in unknown.output) == (2, True)
    url = str(feed.station.api.client.make_url(EVENTS))
    words = ("--type", RESET, "--emaid", EMAID, "--pcid", CAR, "--at", "2026-10-29T08:00:00Z")
    sent = await run("send", url, "--secret", SECRET, *words)
    assert (sent.exit_code, "received" in sent.output) == (0, True), sent.output
    refused = await run("send", url, "--secret", "wrong", *words)
    assert (refused.exit_code, "signature_invalid" in refused.output) == (1, True)
    nowhere = await run("send", "http://127.0.0.1:9/", "--secret", SECRET, *words)
    assert nowhere.exit_code == 2
