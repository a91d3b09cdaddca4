"""Log lines: machine-readable, with their ids, and without secrets in either format."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog
from pydantic import SecretStr

from gateway import logs
from gateway.config import LogFormat, LogLevel
from gateway.logs import REDACTED, configure_logs

SESSION = UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    configure_logs(log_format=LogFormat.JSON, log_level=LogLevel.INFO, stream=stream)
    return stream


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_name(lines: io.StringIO) -> None:
    structlog.get_logger("gateway.payments").info("captured", amount_minor=1234)
    (line,) = parsed(lines)
    assert line["event"] == "captured"
    assert line["amount_minor"] == 1234
    assert (line["level"], line["logger"]) == ("info", "gateway.payments")
    assert line["timestamp"].endswith("Z")


def test_libraries_write_in_the_same_format(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("slow %s", "query")
    assert parsed(lines)[0]["event"] == "slow query"


def test_lines_below_the_level_are_not_written(lines: io.StringIO) -> None:
    structlog.get_logger("a").debug("quiet")
    logging.getLogger("b").debug("quiet")
    assert lines.getvalue() == ""


def test_lines_inside_a_context_carry_its_ids(lines: io.StringIO) -> None:
    log = structlog.get_logger("a")
    with structlog.contextvars.bound_contextvars(request_id="req_1", party_id="NL-ABC"):
        log.info("inside")
        logging.getLogger("library").warning("inside too")
    log.info("outside")
    inside, library, outside = parsed(lines)
    for line in (inside, library):
        assert line["request_id"] == "req_1"
        assert line["party_id"] == "NL-ABC"
    assert "request_id" not in outside


async def test_concurrent_requests_do_not_mix_their_ids(lines: io.StringIO) -> None:
    async def handle(request_id: str) -> None:
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await asyncio.sleep(0)
            structlog.get_logger("a").info("done", mine=request_id)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(handle(f"req_{number}"))
    assert all(line["request_id"] == line["mine"] for line in parsed(lines))


@pytest.mark.parametrize("log_format", list(LogFormat))
@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": "SECRET"},
        {"psp_api_key": "SECRET"},
        {"Authorization": "SECRET"},
        {"headers": {"Cookie": "SECRET", "Stripe-Signature": "SECRET"}},
        {"body": {"party": [{"webhook_secret": "SECRET"}]}},
        {"iban": "SECRET"},
        {"value": SecretStr("SECRET")},
        {"url": "postgresql://app:SECRET@db/x"},
        {"text": "called with Bearer SECRET0123456789"},
        {"text": "key sk_live_SECRET1234 rejected"},
        {"text": "rotated nck_abcdefghjkmn_SECRET-0123"},
        {"text": "confirmed with pi_3abc_secret_SECRET12"},
        {"text": "connected with pst_test_SECRET12345"},
        {"error": ValueError("whsec_SECRET0123 is wrong")},
        {"deep": {"a": {"b": {"c": {"d": {"e": {"f": {"g": "SECRET"}}}}}}}},
    ],
)
def test_secrets_are_replaced_by_name_and_by_look(log_format: LogFormat, fields: dict[str, Any]) -> None:
    stream = io.StringIO()
    configure_logs(log_format=log_format, log_level=LogLevel.INFO, stream=stream)
    structlog.get_logger("a").info("event", **fields)
    assert REDACTED in stream.getvalue()
    assert "SECRET" not in stream.getvalue()


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_the_prefix_of_a_key_stays_readable_and_its_secret_does_not(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure_logs(log_format=log_format, log_level=LogLevel.INFO, stream=stream)
    key = "nck_abcdefghjkmn"
    fields = {
        "key_prefix": key,
        "principal": key,
        "text": f"rotated {key}_SECRET-0123",
        "bare": f"{key}SECRET",
    }
    structlog.get_logger("a").info("request", **fields)
    assert stream.getvalue().count(key) == 3
    assert "SECRET" not in stream.getvalue()


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_card_number_is_masked_wherever_it_stands(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure_logs(log_format=log_format, log_level=LogLevel.INFO, stream=stream)
    card = "4242 4242" + " 4242 4242"
    fields = {"text": f"paid by {card}", "deep": [{"a": card}], "error": ValueError(card)}
    structlog.get_logger("a").info(card, **fields)
    assert stream.getvalue().count("[card number]") == 4
    assert card not in stream.getvalue()


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_an_exception_is_written_without_local_variables_or_keys(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure_logs(log_format=log_format, log_level=LogLevel.INFO, stream=stream)
    card = "LOCAL-VALUE"
    try:
        raise ValueError("sk_test_SECRET1234 rejected")
    except ValueError:
        structlog.get_logger("a").exception("failed")
    written = stream.getvalue()
    assert "ValueError" in written
    assert card not in written
    assert "SECRET" not in written


def test_ids_are_not_mistaken_for_secrets(lines: io.StringIO) -> None:
    structlog.get_logger("a").info(
        "authorized", authorization_id="aut_1", authorization_reference="ref", panel=1
    )
    line = parsed(lines)[0]
    assert (line["authorization_id"], line["authorization_reference"], line["panel"]) == ("aut_1", "ref", 1)


def test_what_was_found_harmless_is_written_again_and_a_secret_never_is(lines: io.StringIO) -> None:
    for _ in range(2):
        structlog.get_logger("a").info(
            "request", route="/v1/sessions", text="whsec_SECRET0123", pan=12345678, request_id="req_SECRET"
        )
    first, second = parsed(lines)
    assert first | {"timestamp": ""} == second | {"timestamp": ""}
    assert (first["route"], first["pan"], first["text"]) == ("/v1/sessions", REDACTED, REDACTED)


def test_texts_that_never_come_again_do_not_gather(lines: io.StringIO) -> None:
    for number in range(3_000):
        structlog.get_logger("a").info("request", route=f"/v1/{number}")
    assert len(logs._harmless) <= 1_024
    assert "/v1/2999" in lines.getvalue()
