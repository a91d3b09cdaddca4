"""A session from its meter to the bank in one record: written from the books, verified without them."""

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearing.session_trace.verification import StepState, verify_trace
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.disbursements import DisbursementJob, PspRail
from tests.fakes.api import Api, cdr
from tests.fakes.command import networkcore
from tests.integration import test_api_disbursements as settlement
from tests.unit.clearing.meter_builders import BEGIN, END, METER, public_der, record, signed_values

api = settlement.api  # the fixture: parties, an agreement, a server
ROOT = Path(__file__).parents[2]
LINKS = ["meter", "cdr", "price", "capture", "entry", "payout", "bank line"]


def run(url: str | None, *arguments: str) -> tuple[int, str, str]:
    done = networkcore("trace", *arguments, database_url=url)
    return done.returncode, done.stdout, done.stderr


async def settled(api: Api, *, pay: bool = True) -> str:
    """A session whose meter signed 20 kWh, captured, cleared and paid out."""
    key = {"meter_serial": METER, "public_key": public_der().hex(), "valid_from": "2026-01-01T00:00:00Z"}
    made = await api.call("POST", "/v1/parties/DE-ABC/meter-keys", key, party="admin")
    assert made.status == 201, made.text
    start, stop = "2026-10-29T08:00:00,000+0000 S", "2026-10-29T09:00:00,000+0000 S"
    text = record(BEGIN | {"TM": start}, END | {"TM": stop, "RV": 120.5})
    shown = (await api.authorize(key="a1")).json
    body = {"cdr": json.loads(cdr()) | {"signed_data": signed_values(text)}}
    ended = await api.call("POST", f"/v1/sessions/{shown['session']}/complete", body, key="c1")
    assert ended.json["capture"]["state"] == "succeeded", ended.text
    clearing = api.services.clearing
    job = ClearingJob(
        pool=api.services.pool, clock=api.clock, sessions=clearing.sessions, batch_size=10, chain=0
    )
    api.clock.pass_wall(5)
    assert await job.run_once() == 1
    if pay:
        api.clock.at += timedelta(days=7)
        rail = PspRail(psp=api.psp)
        payouts = DisbursementJob(pool=api.services.pool, clock=api.clock, clearing=clearing, rail=rail)
        assert await payouts.run() == 2
    return str(shown["session"])


def states(trace: Any) -> dict[str, str]:
    return {one.name: one.state.value for one in verify_trace(trace)}


async def test_a_session_is_traced_from_its_meter_to_its_payout_and_verified_offline(
    api: Api, database_url: str, tmp_path: Path
) -> None:
    session = await settled(api)
    file = tmp_path / "trace.json"
    status, out, err = run(database_url, session, "--output", str(file))
    assert (status, err) == (0, "")
    assert f"meter      proved    meter {METER} signed 20.0 kWh, key from cpo" in out
    offline = run(None, str(file), "--json")
    assert offline[0] == 0, offline
    links = {one["link"]: one["state"] for one in json.loads(offline[1])["links"]}
    assert list(links) == LINKS
    assert links == dict.fromkeys(LINKS, "proved") | {"bank line": "missing"}  # paid by the PSP
    trace = json.loads(file.read_text(encoding="utf-8"))
    check_changes(trace)
    check_bank_lines(trace)
    check_any_change(trace)


def check_bank_lines(trace: Any) -> None:
    """A payout by bank is proved by the bank's own line of that amount."""
    banked = copy.deepcopy(trace)
    for payable in banked["payables"]:
        paid = payable["disbursement"]
        line = {"id": "L1", "day": "2026-11-05", "amount_minor": -paid["amount_minor"]}
        payable["disbursement"] = paid | {"rail": "bank", "bank_line": line}
    assert states(banked)["bank line"] == "proved"
    banked["payables"][0]["disbursement"]["bank_line"]["amount_minor"] += 1
    assert states(banked)["bank line"] == "failed"
    banked["payables"][0]["disbursement"]["bank_line"] = None
    assert states(banked)["bank line"] == "unproved"


CHANGES: list[tuple[str, Callable[[Any], None]]] = [
    ("price", lambda trace: trace["capture"].update(price_minor=trace["capture"]["price_minor"] + 1)),
    ("price", lambda trace: trace["tariff"].update(sha256="00" * 32)),
    ("capture", lambda trace: trace["capture"].update(amount_minor=trace["capture"]["amount_minor"] + 1)),
    ("entry", lambda trace: trace["batches"][0]["entries"][0]["transfers"][0].update(minor=1)),
    ("entry", lambda trace: trace["batches"][0].update(previous_hash="11" * 32)),
    ("entry", lambda trace: trace["batches"][0]["entries"][0].update(tariff_sha256="22" * 32)),
    ("cdr", lambda trace: trace["batches"][0]["entries"][0].update(cdr_id="other")),
    ("payout", lambda trace: trace["payables"][0].update(amount_minor=1)),
    ("meter", lambda trace: trace["meter_keys"][0].update(public_key=public_der(seed=9).hex())),
    ("meter", lambda trace: trace["cdr"].update(base64="e30=")),
]


def check_changes(trace: Any) -> None:
    """A link that was altered fails, and is named."""
    for link, change in CHANGES:
        altered = copy.deepcopy(trace)
        change(altered)
        assert states(altered)[link] == "failed", link


def check_any_change(trace: Any) -> None:
    """Whatever is left out of a record or put in its place gives a verdict, never an error."""

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(trace)), st.none() | st.integers() | st.text(max_size=5) | st.just([{}]))
    def changed(name: str, value: Any) -> None:
        assert len(verify_trace(trace | {name: value})) in {1, len(LINKS)}
        assert len(verify_trace({key: one for key, one in trace.items() if key != name})) in {1, len(LINKS)}

    changed()


async def test_what_is_not_paid_yet_is_unproved_and_no_failure(
    api: Api, database_url: str, tmp_path: Path
) -> None:
    session = await settled(api, pay=False)
    status, out, _ = run(database_url, session)
    assert status == 0
    assert "payout     unproved  0 of 2 payables are paid" in out


@pytest.mark.parametrize(
    ("subject", "said"),
    [("nothing", "neither a file nor a session"), ("ses_01jd2w3x4y5z6a7b8c9d0e1f2g", "there is no session")],
)
def test_what_is_no_session_is_one_line_and_status_2(
    api: Api, database_url: str, subject: str, said: str
) -> None:
    status, _, err = run(database_url, subject)
    assert (status, len(err.splitlines())) == (2, 1)
    assert said in err


def test_a_file_that_is_no_trace_says_so(tmp_path: Path) -> None:
    file = tmp_path / "x"
    for content, expected in (("{", 2), ("[]", 1), ('{"format": "session-trace-1"}', 1)):
        file.write_text(content, encoding="utf-8")
        assert run(None, str(file))[0] == expected
    assert [one.state for one in verify_trace(None)] == [StepState.FAILED]
