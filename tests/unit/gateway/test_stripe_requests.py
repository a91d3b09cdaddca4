"""Every request of the Stripe adapter, in every combination, against the SDK's own types of its version.

The requests are collected below the SDK, as they go over the wire, and no part of the adapter may send one
that is not collected here.
"""

import ast
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from typing_extensions import override

import gateway.payments.psp.stripe as adapter_package
from gateway.ids import format_id, new_id
from gateway.payments.psp.connect_port import (
    UNKNOWN_ACCOUNT,
    OnboardingLink,
    PspAccount,
    PspAccountRequest,
    TransferCapability,
)
from gateway.payments.psp.dispute_port import (
    EVIDENCE_FIELDS,
    EVIDENCE_FILES,
    FileUploaded,
    PspEvidenceRequest,
    PspFileRequest,
)
from gateway.payments.psp.failures import Declined
from gateway.payments.psp.payer_port import (
    CustomerCreated,
    MethodDetached,
    MethodStatus,
    PspCustomerRequest,
    PspSetupRequest,
    SetupState,
    SetupStatus,
)
from gateway.payments.psp.port import (
    CARD_PRESENT,
    HOSTED_PAGE,
    Captured,
    Held,
    HoldFeatures,
    PspCaptureRequest,
    PspChargeRequest,
    PspHoldRequest,
    PspIncrementRequest,
    PspRefundRequest,
    PspTopUpRequest,
    PspTransferRequest,
    PspVoidRequest,
    RequiresAction,
    Voided,
)
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.payments.psp.stripe.request_parameters import statement_suffix
from gateway.payments.psp.stripe.wire import API_VERSION
from gateway.payments.psp.terminal_port import (
    ConnectionToken,
    LocationCreated,
    PspLocationRequest,
    PspReaderRequest,
    Reader,
)
from sandbox.stripe.access import PspRequest, parameters_of
from sandbox.stripe.engine import PspEngine
from sandbox.stripe.forms import parse_form
from sandbox.stripe.settings import PspSettings
from tests.simulation.application import _form
from tests.simulation.in_process import API_KEY, BASE_URL, WEBHOOK_SECRET, InProcessClient, Wire
from tests.stripe_types import ENDPOINTS, endpoint_of, form_problems, params_named

FOLDER = Path(adapter_package.__file__).parent
PAYS = {"payment_method": "pm_card_visa"}
SENDING = {"ask", "post", "get", "read_each", "upload"}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Collected:
    """What went over the wire, and from which lines of the adapter."""

    sent: list[tuple[str, str, dict[str, Any], Mapping[str, str]]] = field(default_factory=list)
    lines: set[tuple[str, int]] = field(default_factory=set)

    def problems(self) -> Iterator[str]:
        for method, path, form, headers in self.sent:
            endpoint = endpoint_of(method, path)
            for problem in form_problems(form, params_named(ENDPOINTS[endpoint])):
                yield f"{endpoint}: {problem}"
            if headers.get("Stripe-Version") != API_VERSION:
                yield f"{endpoint}: version {headers.get('Stripe-Version')}"
            if (method == "POST") is not bool(headers.get("Idempotency-Key")):
                yield f"{endpoint}: a request changes something if and only if it has an idempotency key"


class Collector(InProcessClient):
    """The SDK's HTTP client over the sandbox's engine, noting each request and who in the adapter sent it."""

    def __init__(self, engine: PspEngine, collected: Collected) -> None:
        super().__init__(Wire(engine=engine))
        self._collected = collected

    @override
    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        parts = urlsplit(url)
        if isinstance(post_data, bytes):  # a form of parts, with a file
            sent = PspRequest(
                method="POST",
                path=parts.path,
                headers={"content-type": headers["Content-Type"]},
                body=post_data,
            )
            form = parameters_of(sent)
        else:
            form = parse_form(parts.query if method == "get" else post_data or "")
        self._collected.sent.append((method.upper(), parts.path, form, headers))
        frame = sys._getframe()
        while frame is not None:
            if Path(frame.f_code.co_filename).parent == FOLDER:
                self._collected.lines.add((Path(frame.f_code.co_filename).name, frame.f_lineno))
            frame = frame.f_back  # type: ignore[assignment]
        return await super().request_async(method, url, headers, post_data)


@dataclass
class Play:
    """The adapter, the engine that answers it and what was collected between them."""

    psp: StripePsp
    engine: PspEngine
    collected: Collected
    customer: str
    method: str
    account: str


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    engine, collected = PspEngine(PspSettings(seed=1)), Collected()
    psp = StripePsp(
        api_key=API_KEY,
        webhook_secret=WEBHOOK_SECRET,
        base_url=BASE_URL,
        http_client=Collector(engine, collected),
    )
    customer = _form(engine, "/v1/customers", {})["id"]
    path = "/v1/payment_methods/pm_card_visa/attach"
    method = _form(engine, path, {"customer": customer})["id"]
    account = _form(engine, "/v1/accounts", {"type": "custom", "country": "DE"})["id"]
    yield Play(psp, engine, collected, customer, method, account)
    await psp.close()
    engine.close()


def holds(play: Play) -> Iterator[PspHoldRequest]:
    """Every combination of what a hold may say."""
    features = [
        HoldFeatures(increments=one, over_capture=two) for one, two in product((True, False), (True, False))
    ]
    names = ({}, {"description": "Charging", "receipt_email": "a@b.test", "statement_suffix": "NL-ABC 1/2"})
    ways = (
        {"payment_method": "pm_card_visa"},
        {"payment_method": "pm_card_visa", "return_url": "https://app.test/back"},
        {"payment_method": play.method, "customer": play.customer, "return_url": "app://back"},
        {"payment_method": play.method, "customer": play.customer},
        {"payment_method": play.method, "customer": play.customer, "save_usage": "on_session"},
        {
            "payment_method": play.method,
            "customer": play.customer,
            "return_url": "app://back",
            "save_usage": "off_session",
        },
        {"payment_method": play.method, "customer": play.customer, "off_session": True},
        {"payment_method": CARD_PRESENT},
        {"payment_method": CARD_PRESENT, "customer": play.customer},
    )
    for asked, named, way, metadata in product(features, names, ways, ({}, {"party": "SUPERAPP"})):
        fields: dict[str, Any] = {**named, **way}
        yield PspHoldRequest(
            idempotency_key=str(new_id()),
            session_id=new_id(),
            authorization_id=new_id(),
            amount_minor=5000,
            currency="EUR",
            features=asked,
            metadata=metadata,
            **fields,
        )


async def play_everything(play: Play) -> None:
    """Each operation of the adapter, whose answers the engine gives."""
    psp, last = play.psp, None
    for request in holds(play):
        outcome = await psp.hold(request)
        expected = RequiresAction if request.payment_method == CARD_PRESENT else Held
        assert isinstance(outcome, expected), (request, outcome)
        last = outcome if isinstance(outcome, Held) and request.features.increments else last
    assert last is not None
    payment = {"psp_payment": last.psp_payment, "currency": "EUR"}
    await psp.increment(PspIncrementRequest(idempotency_key="i", amount_minor=6000, **payment))
    captured = await psp.capture(
        PspCaptureRequest(idempotency_key="c", amount_minor=4000, metadata={"capture": "cap_1"}, **payment)
    )
    assert isinstance(captured, Captured)
    await psp.capture(PspCaptureRequest(idempotency_key="c2", amount_minor=4000, **payment))
    await psp.void(PspVoidRequest(idempotency_key="v", psp_payment=last.psp_payment))
    charge = {"session_id": new_id(), "authorization_id": new_id(), "amount_minor": 700, "currency": "EUR"}
    for named in ({}, {"description": "Charging", "receipt_email": "a@b.test", "statement_suffix": "NL"}):
        fields: dict[str, Any] = {**charge, **named, "idempotency_key": f"x{len(named)}"}
        await psp.charge(PspChargeRequest(payment_method=play.method, customer=play.customer, **fields))
    refund = {"psp_charge": captured.psp_charge, "amount_minor": 100, "currency": "EUR"}
    for at, metadata in enumerate(({}, {"refund": format_id("ref", UUID(int=1))})):
        await psp.refund(PspRefundRequest(idempotency_key=f"r{at}", metadata=metadata, **refund))  # type: ignore[arg-type]
    await psp.top_up(
        PspTopUpRequest(
            idempotency_key="t", top_up_id=new_id(), amount_minor=9000, currency="EUR", reference="float"
        )
    )
    await psp.transfer(
        PspTransferRequest(
            idempotency_key="w",
            amount_minor=700,
            currency="EUR",
            connected_account=play.account,
            end_to_end_id="NC1",
        )
    )
    await read_everything(psp, captured)
    await play_payers(play)
    await play_terminals(play)
    await play_connect(play)
    await play_pages(play)


async def play_pages(play: Play) -> None:
    """Each request about hosted pages, in every combination; one is ended, one paid and then ended."""
    psp = play.psp
    names = ({}, {"description": "Charging", "receipt_email": "a@b.test", "statement_suffix": "NL-ABC 1/2"})
    soon = datetime.fromtimestamp(play.engine.state.now, UTC) + timedelta(minutes=35)
    for number, (one, two, named, locale) in enumerate(
        product((True, False), (True, False), names, ("de", "fr", "it", "en", "xx", None))
    ):
        fields: dict[str, Any] = dict(named)
        opened = await psp.hold(
            PspHoldRequest(
                idempotency_key=f"page{number}",
                session_id=new_id(),
                authorization_id=new_id(),
                amount_minor=5000,
                currency="EUR",
                payment_method=HOSTED_PAGE,
                return_url="https://page.test/charge/token/return",
                features=HoldFeatures(increments=one, over_capture=two),
                locale=locale,
                page_until=soon,
                **fields,
            )
        )
        assert isinstance(opened, RequiresAction)
        assert await psp.inspect(psp_payment=opened.psp_payment) == opened
        if number > 1:
            continue
        if number:
            _form(play.engine, f"/_sandbox/checkout_sessions/{opened.psp_payment}/pay", PAYS)
            held = await psp.inspect(psp_payment=opened.psp_payment)
            assert isinstance(held, Held)
            assert (held.amount_minor, held.currency) == (5000, "EUR")
        for key in ("pv1", "pv2"):
            void = PspVoidRequest(idempotency_key=f"{key}{number}", psp_payment=opened.psp_payment)
            assert await psp.void(void) == Voided()
        assert await psp.inspect(psp_payment=opened.psp_payment) == Voided()


async def play_connect(play: Play) -> None:
    """Each request about connected accounts."""
    connect = play.psp.connect
    for at, email in enumerate((None, "treasury@cpo.example")):
        made = await connect.create_account(
            PspAccountRequest(
                idempotency_key=f"ca{at}", account_id=new_id(), party_id="NL-ABC", country="NL", email=email
            )
        )
        assert isinstance(made, PspAccount)
        assert made.transfers is TransferCapability.INACTIVE
    assert await connect.inspect_account(psp_account=made.psp_account) == made
    link = await connect.create_onboarding_link(
        psp_account=made.psp_account,
        return_url="https://app.test/back",
        refresh_url="https://app.test/again",
        idempotency_key="cl",
    )
    assert isinstance(link, OnboardingLink)
    gone = await connect.inspect_account(psp_account="acct_1Nobody")
    assert gone == Declined(code=UNKNOWN_ACCOUNT, retryable=False)


async def play_payers(play: Play) -> None:
    """Each request about customers, setups and saved methods."""
    payers = play.psp.payers
    made = await payers.create_customer(
        PspCustomerRequest(idempotency_key="pc", customer_id=new_id(), party_id="SUPERAPP")
    )
    assert isinstance(made, CustomerCreated)
    for off_session in (True, False):
        setup = await payers.create_setup(
            PspSetupRequest(
                idempotency_key=f"ps{off_session}",
                setup_id=new_id(),
                party_id="SUPERAPP",
                psp_customer=made.psp_customer,
                off_session=off_session,
            )
        )
        assert isinstance(setup, SetupStatus)
        assert setup.client_secret is not None
        await payers.inspect_setup(psp_setup=setup.psp_setup)
        ended = await payers.cancel_setup(psp_setup=setup.psp_setup, idempotency_key=f"pe{off_session}")
        assert isinstance(ended, SetupStatus)
        assert ended.state is SetupState.CANCELLED
        again = await payers.cancel_setup(psp_setup=setup.psp_setup, idempotency_key=f"pa{off_session}")
        assert isinstance(again, SetupStatus)  # what has ended is read
    assert isinstance(await payers.inspect_method(psp_method=play.method), MethodStatus)
    for key in ("pd", "pg"):  # a second time it is detached already
        detached = await payers.detach_method(psp_method=play.method, idempotency_key=key)
        assert isinstance(detached, MethodDetached)


async def play_terminals(play: Play) -> None:
    """Each request about terminals."""
    terminals = play.psp.terminals
    addresses = (
        {"line1": "Kade 1", "city": "Rotterdam", "postal_code": "3011 AB", "country": "NL"},
        {"line1": "1 Main St", "city": "Austin", "postal_code": "78701", "country": "US", "state": "TX"},
    )
    for at, address in enumerate(addresses):
        place = await terminals.create_location(
            PspLocationRequest(
                idempotency_key=f"tl{at}",
                location_id=new_id(),
                party_id="SUPERAPP",
                display_name="Harbour",
                address=address,
            )
        )
        assert isinstance(place, LocationCreated)
    token = await terminals.create_connection_token(psp_location=place.psp_location, idempotency_key="tt")
    assert isinstance(token, ConnectionToken)
    reader = await terminals.register_reader(
        PspReaderRequest(
            idempotency_key="tr",
            psp_location=place.psp_location,
            registration_code="simulated-wpe",
            label="Column 1",
        )
    )
    assert isinstance(reader, Reader)
    assert await terminals.list_readers(psp_location=place.psp_location) == [reader]
    assert await terminals.inspect_reader(psp_reader=reader.psp_reader) == reader
    waits = await play.psp.hold(next(one for one in holds(play) if one.payment_method == CARD_PRESENT))
    assert isinstance(waits, RequiresAction)
    for key in ("t1", "t2"):
        presented = await terminals.present(
            psp_reader=reader.psp_reader, psp_payment=waits.psp_payment, idempotency_key=key
        )
    assert presented == Declined(code="terminal_reader_busy", retryable=True)


async def read_everything(psp: StripePsp, captured: Captured) -> None:
    """Each look-up and list of the adapter."""
    await psp.find_hold(authorization_id=new_id())
    await psp.inspect(psp_payment=captured.psp_payment or "")
    await psp.read_payment(psp_payment=captured.psp_payment or "")
    await psp.find_charge(authorization_id=new_id())
    await psp.find_refund(psp_charge=captured.psp_charge, refund_id=UUID(int=1))
    await psp.find_transfer(end_to_end_id="NC1")
    await psp.find_top_up(top_up_id=new_id())
    await psp.read_top_up(psp_topup="tu_1")
    await psp.read_refund(psp_refund="re_1")
    await psp.read_dispute(psp_dispute="du_1")
    uploaded = await psp.upload_evidence(
        PspFileRequest(idempotency_key="f", name="receipt.pdf", content=b"%PDF-1.7 \x00\xff\r\n")
    )
    assert isinstance(uploaded, FileUploaded)
    for submit in (False, True):
        await psp.submit_evidence(
            PspEvidenceRequest(
                idempotency_key=f"e{submit}",
                psp_dispute="du_1",
                evidence={
                    **dict.fromkeys(EVIDENCE_FIELDS, "text"),
                    **dict.fromkeys(EVIDENCE_FILES, uploaded.psp_file),
                },
                submit=submit,
            )
        )
    await psp.accept_dispute(psp_dispute="du_1", idempotency_key="a")
    await psp.list_records()
    async for _page in psp.event_pages_since(since=LONG_AGO, limit=150):
        pass
    for until in (None, LONG_AGO + timedelta(days=900)):
        await psp.list_movements_between(since=LONG_AGO, until=until, limit=150)


def sending_calls() -> Iterator[tuple[str, range]]:
    """Each call of the adapter that sends a request: its file and its lines."""
    for path in sorted(FOLDER.glob("*.py")):
        if path.name == "wire.py":  # what all of them go through
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in SENDING
                and ast.unparse(node.func.value).endswith("wire")
            ):
                yield path.name, range(node.lineno, (node.end_lineno or node.lineno) + 1)


async def test_every_request_is_one_that_the_pinned_version_takes(play: Play) -> None:
    await play_everything(play)
    assert sorted(set(play.collected.problems())) == []


async def test_no_call_of_the_adapter_sends_a_request_that_is_not_collected_here(play: Play) -> None:
    await play_everything(play)
    missed = [
        f"{name}:{lines.start}"
        for name, lines in sending_calls()
        if not any((name, line) in play.collected.lines for line in lines)
    ]
    assert missed == [], "play these calls in play_everything"
    assert len(list(sending_calls())) > 10


async def test_the_driver_is_never_present_without_a_way_back_or_a_method_that_needs_none(play: Play) -> None:
    await play_everything(play)
    for method, path, form, _ in play.collected.sent:
        if (method, path) != ("POST", "/v1/payment_intents"):
            continue
        ways = [name for name in ("off_session", "return_url", "automatic_payment_methods") if name in form]
        assert len(ways) == ("confirm" in form), form
        assert ("allowed_payment_method_types" in form) is ("automatic_payment_methods" not in form)
        assert "statement_descriptor" not in form


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("NL-ABC AMS", "NL-ABC AMS"),
        ("Fastned <Amsterdam>", "Fastned Am"),
        ("12345", None),
        ("*'\"\\", None),
        ("北京 Laden", "Laden"),
    ],
)
def test_a_statement_shows_only_what_the_card_schemes_can_write(text: str, shown: str | None) -> None:
    assert statement_suffix(text) == shown


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"amount": "5"}, "currency: required"),
        ({"amount": "5.0", "currency": "eur"}, "no whole number"),
        ({"amount": "5", "currency": "eur", "colour": "red"}, "colour: unknown"),
        ({"amount": "5", "currency": "eur", "confirm": "True"}, "neither true nor false"),
        ({"amount": "5", "currency": "eur", "capture_method": "late"}, "none of the values"),
        (
            {"amount": "5", "currency": "eur", "allowed_payment_method_types": {"0": "cards"}},
            "none of the values",
        ),
        ({"amount": "5", "currency": "eur", "allowed_payment_method_types": "card"}, "no list"),
        (
            {"amount": "5", "currency": "eur", "payment_method_options": {"card": {"moo": "1"}}},
            "card.moo: unknown",
        ),
        (
            {"amount": "5", "currency": "eur", "payment_method_types": {"0": "card"}},
            "payment_method_types: unknown",
        ),
    ],
)
def test_the_comparison_finds_each_kind_of_mistake(form: dict[str, Any], problem: str) -> None:
    found = form_problems(form, params_named("PaymentIntentCreateParams"))
    assert len(found) == 1
    assert problem in found[0]
