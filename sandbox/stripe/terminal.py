"""Terminal: locations, readers, connection tokens, and a payment that a reader takes the card for.

Owns: these objects, and the test helper that presents a card to a reader. Must not know: what a card does.
Source: docs.stripe.com/api/terminal; simulated readers register with a code such as `simulated-wpe`.
"""

from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.card_authorization import authorize
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import ADDRESS, takes
from sandbox.stripe.payment_methods import find_method
from sandbox.stripe.problems import CardProblem, Json, ParameterProblem, PspProblem, missing, unexpected_state
from sandbox.stripe.state import PspState

_DEVICES: Final = {"simulated-wpe": "simulated_wisepos_e", "simulated-s700": "simulated_stripe_s700"}
LOCATION: Final = "terminal.location"
READER: Final = "terminal.reader"


@takes("display_name", "metadata", "phone", address=ADDRESS)
def create_location(call: PspApiRequest) -> Json:
    """POST /v1/terminal/locations."""
    params = call.params
    address = params.section("address")
    address.required_text("country")
    location: Json = {
        "id": call.state.new_id("tml_", 14),
        "object": LOCATION,
        "address": {name: address.text(name) for name in ADDRESS},
        "display_name": params.required_text("display_name"),
        "livemode": False,
        "metadata": params.metadata(),
        "phone": params.text("phone"),
    }
    return call.state.put(LOCATION, location, call.account)


@takes()
def retrieve_location(call: PspApiRequest) -> Json:
    """GET /v1/terminal/locations/{id}."""
    return call.state.get(LOCATION, call.ids[0], call.account, param="location")


@takes(*PAGING)
def list_locations(call: PspApiRequest) -> Json:
    """GET /v1/terminal/locations."""
    return page(call, LOCATION)


@takes("location")
def create_connection_token(call: PspApiRequest) -> Json:
    """POST /v1/terminal/connection_tokens: short-lived, for the readers of one location if it names one."""
    location = call.params.text("location")
    shown: Json = {"object": "terminal.connection_token", "secret": call.state.new_secret("pst_test_")}
    if location is not None:
        shown["location"] = _location(call, location)["id"]
    return shown


@takes("registration_code", "label", "location", "metadata")
def create_reader(call: PspApiRequest) -> Json:
    """POST /v1/terminal/readers, by the code that the reader shows."""
    params = call.params
    code = params.required_text("registration_code")
    location = params.text("location")
    if code not in _DEVICES:
        raise ParameterProblem(
            f"This PSP has simulated readers only: {', '.join(_DEVICES)}.",
            param="registration_code",
        )
    if location is not None:
        _location(call, location)
    reader_id = call.state.new_id("tmr_", 14)
    reader: Json = {
        "id": reader_id,
        "object": READER,
        "action": None,
        "device_sw_version": "",
        "device_type": _DEVICES[code],
        "ip_address": "0.0.0.0",  # noqa: S104 - what a simulated reader says
        "label": params.text("label") or reader_id,
        "last_seen_at": call.state.now * 1000,
        "livemode": False,
        "location": location,
        "metadata": params.metadata(),
        "serial_number": f"SIMULATOR-{reader_id[4:]}",
        "status": "online",
    }
    return call.state.put(READER, reader, call.account)


@takes()
def retrieve_reader(call: PspApiRequest) -> Json:
    """GET /v1/terminal/readers/{id}."""
    return call.state.get(READER, call.ids[0], call.account, param="reader")


@takes(*PAGING, "location", "status", "device_type", "serial_number")
def list_readers(call: PspApiRequest) -> Json:
    """GET /v1/terminal/readers, by location."""
    params = call.params
    location = params.text("location")
    return page(call, READER, keep=lambda body: location is None or body["location"] == location)


@takes("payment_intent")
def process_payment_intent(call: PspApiRequest) -> Json:
    """POST /v1/terminal/readers/{id}/process_payment_intent: the reader waits for a card."""
    params = call.params
    reader = call.state.get(READER, call.ids[0], call.account, param="reader")
    intent = call.state.get(
        "payment_intent", params.required_text("payment_intent"), call.account, param="payment_intent"
    )
    if "card_present" not in intent["payment_method_types"] or intent["status"] != "requires_payment_method":
        raise unexpected_state("processed", intent, "requires_payment_method (of type card_present)")
    if (reader["action"] or {}).get("status") == "in_progress":
        raise PspProblem(
            "Reader is currently processing another request.", status=409, code="terminal_reader_busy"
        )
    reader["action"] = _action(intent["id"], "in_progress")
    return call.state.put(READER, reader, call.account)


@takes("type")
def present_payment_method(call: PspApiRequest) -> Json:
    """POST /v1/test_helpers/terminal/readers/{id}/present_payment_method: a card is held to the reader."""
    params = call.params
    params.choice("type", ("card_present",), default="card_present")
    reader = call.state.get(READER, call.ids[0], call.account, param="reader")
    action = reader["action"] or {}
    if action.get("status") != "in_progress":
        raise PspProblem("The reader waits for no card.", code="terminal_reader_invalid_location_for_payment")
    intent = call.state.get(
        "payment_intent", action["process_payment_intent"]["payment_intent"], call.account
    )
    return _present(call.state, reader, intent, call.account)


def _present(state: PspState, reader: Json, intent: Json, account: str) -> Json:
    intent["_present"] = True
    method = find_method(state, "pm_card_visa", account)
    try:
        authorize(state, intent, method, account, never_challenge=True)
        reader["action"] = _action(intent["id"], "succeeded")
    except CardProblem as declined:
        reader["action"] = _action(intent["id"], "failed", code=declined.code, message=declined.message)
    return state.put(READER, reader, account)


def _action(intent_id: str, status: str, *, code: str | None = None, message: str | None = None) -> Json:
    return {
        "type": "process_payment_intent",
        "status": status,
        "failure_code": code,
        "failure_message": message,
        "process_payment_intent": {"payment_intent": intent_id},
    }


def _location(call: PspApiRequest, location_id: str) -> Json:
    record = call.state.peek(LOCATION, location_id)
    if record is None:
        raise missing("location", location_id, param="location", status=400)
    return record
