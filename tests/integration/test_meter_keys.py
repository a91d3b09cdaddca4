"""Keys of meters in PostgreSQL: registered over API and command line, decided on by a second person."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from clearing.meter_data import service
from clearing.meter_data.findings import MeterCode, MeterOutcome, MeterPolicy, MeterVerdict
from clearing.meter_data.registered_key import MeterIdentity, MeterKeySource, NewMeterKey
from clearing.meter_data.service import CheckedCdr
from clearing.pricing.cdr import parse_any_cdr
from clearing.services import build_clearing
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world
from tests.fakes.api import Api, open_api
from tests.fakes.command import networkcore
from tests.unit.clearing.meter_builders import END, METER, public_der, record, registered, signed_cdr

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
EARLY = "2026-01-01T00:00:00Z"
SESSION, OTHER_SESSION = UUID(int=64), UUID(int=128)
PATH = "/v1/parties/DE-ABC/meter-keys"


def body(*, seed: int = 7, **changes: Any) -> dict[str, Any]:
    return {"meter_serial": METER, "public_key": public_der(seed=seed).hex(), "valid_from": EARLY} | changes


@pytest.fixture
async def api(pool: Pool) -> Any:
    async with open_api(pool) as opened, pool.acquire() as connection:
        for party in ("DE-ABC", "NL-ABC"):
            known = world.PARTIES["NL-ABC"]
            await build_clearing().reference_data.register_party(
                connection, type(known)(**{**_fields(known), "id": party}), now=NOW
            )
        yield opened


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


async def test_the_first_key_of_a_meter_is_active_and_the_same_again_is_the_same(api: Api) -> None:
    made = await api.call("POST", PATH, body(), party="admin")
    assert (made.status, made.json["state"], made.json["curve"]) == (201, "active", "secp256r1"), made.text
    again = await api.call("POST", PATH, body(meter_serial=METER.lower()), party="admin")
    assert again.json["id"] == made.json["id"]
    listed = await api.call("GET", PATH, party="admin")
    assert [one["id"] for one in listed.json["data"]] == [made.json["id"]]


async def test_another_key_of_a_known_meter_waits_for_a_second_person(api: Api, pool: Pool) -> None:
    first = (await api.call("POST", PATH, body(), party="admin")).json
    changed = (
        await api.call("POST", PATH, body(seed=9, valid_from="2026-11-01T00:00:00Z"), party="admin")
    ).json
    assert changed["state"] == "proposed"
    waiting = await api.call("GET", "/v1/exceptions?state=open&kind=changed_meter_key", party="admin")
    assert [one["subject"] for one in waiting.json["data"]] == [changed["id"]]
    own = await api.call("POST", f"/v1/meter-keys/{changed['id']}/accept", party="admin")
    assert (own.status, own.json["code"]) == (409, "state_conflict")
    async with transaction(pool) as connection:
        key_id = (await service.list_keys(connection, limit=1))[0].id
        accepted = await service.accept_key(connection, key_id, by="anna", now=NOW)
    assert accepted.decided_by == "anna"
    keys = {one["id"]: one for one in (await api.call("GET", PATH, party="admin")).json["data"]}
    assert keys[changed["id"]]["state"] == "active"
    assert keys[first["id"]]["valid_to"] == "2026-11-01T00:00:00Z"
    assert (await api.call("GET", "/v1/exceptions?state=open&kind=changed_meter_key", party="admin")).json[
        "data"
    ] == []


@pytest.mark.parametrize("other", [{"gateway_serial": "GW1"}, {"charge_point_id": "CP1"}])
async def test_a_narrower_key_of_a_known_meter_is_a_changed_one_too(api: Api, other: dict[str, str]) -> None:
    await api.call("POST", PATH, body(), party="admin")
    changed = await api.call("POST", PATH, body(seed=9, **other), party="admin")
    assert changed.json["state"] == "proposed"


async def test_a_rejected_key_never_counts(api: Api, pool: Pool) -> None:
    await api.call("POST", PATH, body(), party="admin")
    await api.call("POST", PATH, body(seed=9), party="admin")
    async with transaction(pool) as connection:
        key_id = (await service.list_keys(connection, limit=1))[0].id
        rejected = await service.reject_key(connection, key_id, by="anna", now=NOW)
    assert rejected.state == "rejected"
    again = await api.call("POST", f"/v1/meter-keys/{(await newest(api))['id']}/reject", party="admin")
    assert again.status == 409


async def newest(api: Api) -> Any:
    return (await api.call("GET", PATH, party="admin")).json["data"][0]


async def test_a_key_ends_and_never_begins_again(api: Api) -> None:
    key = (await api.call("POST", PATH, body(), party="admin")).json
    path = f"/v1/meter-keys/{key['id']}/end"
    ended = await api.call("POST", path, {"valid_to": "2026-10-01T00:00:00Z"}, party="admin")
    assert (ended.status, ended.json["valid_to"]) == (200, "2026-10-01T00:00:00Z")
    later = await api.call("POST", path, {"valid_to": "2026-10-02T00:00:00Z"}, party="admin")
    assert later.status == 409


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"public_key": "zz"}, "/public_key"),
        ({"curve": "secp256k1"}, "/curve"),
        ({"curve": "none"}, "/curve"),
        ({"meter_serial": None}, "/meter_serial"),
        ({"meter_serial": "   "}, "/meter_serial"),
        ({"meter_serial": "a\x00b"}, "/meter_serial"),
        ({"valid_to": "2025-01-01T00:00:00Z"}, "/valid_to"),
        ({"valid_from": "9999-12-31T23:59:59-14:00"}, "/valid_from"),
        ({"source": "a friend"}, "/source"),
    ],
)
async def test_what_can_not_be_registered_says_which_field(
    api: Api, change: dict[str, Any], pointer: str
) -> None:
    answer = await api.call("POST", PATH, body(**change), party="admin")
    assert answer.status == 400, answer.text
    assert answer.json["errors"][0]["pointer"] == pointer


async def test_a_party_sees_and_changes_its_own_keys_only(api: Api) -> None:
    key = (await api.call("POST", PATH, body(), party="admin")).json
    for method, path, sent in (
        ("POST", PATH, body()),
        ("GET", PATH, None),
        ("POST", f"/v1/meter-keys/{key['id']}/end", {}),
        ("GET", "/v1/parties/DE-ABC/meter-policy", None),
    ):
        answer = await api.call(method, path, sent, party="superapp")
        assert answer.status in {403, 404}, (method, path, answer.text)
    for decision in ("accept", "reject"):
        answer = await api.call("POST", f"/v1/meter-keys/{key['id']}/{decision}", party="superapp")
        assert answer.status == 403


async def test_a_policy_counts_from_its_instant_on(api: Api, pool: Pool) -> None:
    path = "/v1/parties/DE-ABC/meter-policy"
    for policy, start in (("required", "2026-11-01T00:00:00Z"), ("ignored", "2026-12-01T00:00:00Z")):
        answer = await api.call("PUT", path, {"policy": policy, "valid_from": start}, party="admin")
        assert answer.status == 200, answer.text
    listed = (await api.call("GET", path, party="admin")).json["data"]
    assert [one["policy"] for one in listed] == ["ignored", "required"]
    missing = signed_cdr()
    found = await checked(pool, missing, party_id="DE-ABC")
    assert (found.policy, found.outcome) == (MeterPolicy.REQUIRED, MeterOutcome.WAIT)
    assert (await checked(pool, missing, party_id="NL-ABC")).outcome is MeterOutcome.CAPTURE


async def checked(
    pool: Pool, raw: bytes, *, party_id: str = "DE-ABC", session_id: UUID = SESSION
) -> CheckedCdr:
    async with transaction(pool) as connection:
        return await service.check_cdr(
            connection, parse_any_cdr(raw), raw=raw, party_id=party_id, session_id=session_id, now=NOW
        )


async def registered_meter(pool: Pool) -> None:
    new = NewMeterKey(
        identity=MeterIdentity(meter_serial=METER),
        public_key=public_der().hex(),
        source=MeterKeySource.BNETZA,
        valid_from=NOW - timedelta(days=30),
    )
    async with transaction(pool) as connection:
        await service.register_key(connection, "DE-ABC", new, key_id=registered().id, by="anna", now=NOW)


async def test_a_cdr_is_verified_under_its_cpos_key_and_no_other_cpos(api: Api, pool: Pool) -> None:
    await registered_meter(pool)
    raw = signed_cdr(record())
    assert (await checked(pool, raw)).check.verdict is MeterVerdict.VERIFIED
    assert (await checked(pool, raw, party_id="NL-ABC")).check.verdict is MeterVerdict.NOT_CHECKED


async def test_a_record_settles_one_session_however_often_it_is_sent(api: Api, pool: Pool) -> None:
    await registered_meter(pool)
    raw = signed_cdr(record())
    for _ in range(2):  # a CDR that is tried again, or a corrected one of the session
        assert (await checked(pool, raw)).check.verdict is MeterVerdict.VERIFIED
    other = await checked(pool, raw, session_id=OTHER_SESSION)
    assert (other.check.verdict, other.outcome) == (MeterVerdict.BAD, MeterOutcome.WAIT)
    assert MeterCode.RECORD_REPLAYED in {one.code for one in other.check.findings}


async def test_a_record_that_proves_nothing_is_not_claimed(api: Api, pool: Pool) -> None:
    await registered_meter(pool)
    stolen = signed_cdr(record(), meter_id="another meter")
    assert (await checked(pool, stolen, session_id=OTHER_SESSION)).check.verdict is MeterVerdict.BAD
    assert (await checked(pool, signed_cdr(record()))).check.verdict is MeterVerdict.VERIFIED


async def test_what_is_ignored_is_not_even_read(api: Api, pool: Pool) -> None:
    await api.call(
        "PUT", "/v1/parties/DE-ABC/meter-policy", {"policy": "ignored", "valid_from": EARLY}, party="admin"
    )
    found = await checked(pool, signed_cdr(record(END), energy="99"))
    assert (found.outcome, found.check.findings) == (MeterOutcome.CAPTURE, ())


def run(url: str, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    done = networkcore("meter", *arguments, database_url=url, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def test_keys_are_registered_imported_listed_and_decided_on_by_command(
    api: Api, database_url: str, tmp_path: Path
) -> None:
    key = public_der().hex()
    by = ("--by", "anna")
    status, out, err = run(
        database_url, "register", "--party", "DE-ABC", "--meter-serial", METER, "--key", key, *by
    )
    assert (status, err) == (0, "")
    assert "active  DE-ABC 1emh0012345678 secp256r1" in out
    heading = "meter_serial,public_key,source,valid_from\n"
    good = f"{heading}M2,{key},bnetza,2026-01-01\n{METER},{public_der(seed=9).hex()},cpo,\n"
    status, out, err = run(database_url, "import", "-", "--party", "DE-ABC", *by, stdin=good)
    assert (status, out) == (0, "2 keys, 1 of them proposed: a second person decides on those\n"), err
    status, out, _ = run(database_url, "keys", "--party", "DE-ABC", "--json")
    keys = json.loads(out)
    assert [one["state"] for one in keys] == ["proposed", "active", "active"]
    proposed = keys[0]["id"]
    assert run(database_url, "accept", proposed, *by)[0] == 2
    assert run(database_url, "reject", proposed, "--by", "bert")[1].startswith(f"{proposed}  rejected")
    assert run(database_url, "end", keys[1]["id"], "--at", "2026-06-01")[0] == 0
    status, out, _ = run(database_url, "policy", "DE-ABC", "required", "--from", "2026-11-01", *by)
    assert (status, "required for CDRs that end from 2026-11-01" in out) == (0, True)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("meter_serial\nM1\n", "no column 'public_key'"),
        ("meter_serial,public_key,tint\nM1,00,red\n", "an unknown column 'tint'"),
        ("meter_serial,public_key\nM1,zz\n", "line 2: public_key"),
        ("meter_serial,public_key\nM1\n", "line 2: expected 2 fields"),
        ("meter_serial,public_key,valid_from\nM1,00,soon\n", "line 2: valid_from: 'soon'"),
        ('meter_serial,public_key\n"M1,00\n', "is no CSV file"),
    ],
)
def test_a_csv_file_is_imported_whole_or_not_at_all(
    api: Api, database_url: str, lines: str, said: str
) -> None:
    status, _, err = run(database_url, "import", "-", "--party", "DE-ABC", "--by", "anna", stdin=lines)
    assert (status, len(err.splitlines())) == (2, 1)
    assert said in err
    assert json.loads(run(database_url, "keys", "--json")[1]) == []
