"""One request from bytes to bytes: routing, authentication, faults, idempotency, handler, commit.

Owns: the order of these, and that a request takes effect whole or not at all. Runs without a server, so that
a simulator can drive it in its own process. Must not know: sockets, tasks, sleeping.
"""

import time
from dataclasses import dataclass
from typing import Final

import msgspec

from sandbox.stripe import idempotency, topups, webhook_endpoints
from sandbox.stripe.access import CONTROL_PREFIX, PspRequest, acting_account, parameters_of
from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.cards import Decline
from sandbox.stripe.checkout_end import EXPIRE, expire_due
from sandbox.stripe.client_access import check_client_call, is_client, visible_to_client
from sandbox.stripe.expansion import present
from sandbox.stripe.faults import FaultKind
from sandbox.stripe.forms import Params, parse_form
from sandbox.stripe.hold_end import expire_hold
from sandbox.stripe.parameters import Handler, check, shape_of
from sandbox.stripe.payouts import pay
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem
from sandbox.stripe.refunds import refund_fails, refund_succeeds
from sandbox.stripe.routes import RouteTable
from sandbox.stripe.settings import PspSettings
from sandbox.stripe.state import PspState, RequestOrigin, Timer
from sandbox.stripe.webhooks import SignedWebhook, sign

_INJECTED: Final = {
    409: ("idempotency_key_in_use", "idempotency_error", "Another request under this key is in progress."),
    429: ("rate_limit", "invalid_request_error", "Request rate limit exceeded."),
}
TIMERS: Final = {
    EXPIRE: expire_due,
    "expire_hold": expire_hold,
    "pay": pay,
    "arrive_topup": topups.arrive,
    "refund_pending": refund_succeeds,
    "refund_failed": refund_fails,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PspReply:
    """An answer. `lost` is `timeout` or `reset` where the client must not see it.

    `hold_ms` is how long it hangs first.
    """

    status: int
    body: bytes
    headers: dict[str, str]
    lost: str | None = None
    hold_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A request with its id and the faults that apply; `delay_ms` is to be waited before it is executed."""

    request: PspRequest
    request_id: str
    effects: tuple[Json, ...] = ()
    delay_ms: int = 0
    reserved_key: str | None = None
    rejection: PspProblem | None = None


class PspEngine:
    """The sandbox PSP without a server. Not thread-safe: one caller at a time, which an event loop gives."""

    def __init__(self, settings: PspSettings) -> None:
        self.settings = settings
        self.state = PspState(settings)
        self._routes = RouteTable()
        self._in_flight: set[str] = set()
        webhook_endpoints.configure(self.state)
        self.state.commit()

    def close(self) -> None:
        """Close the state file."""
        self.state.records.close()

    def handle(self, request: PspRequest) -> PspReply:
        """Answer at once: delays are not waited for, lost answers are marked."""
        return self.execute(self.admit(request))

    def admit(self, request: PspRequest) -> Admission:
        """Give the request its id and decide its faults.

        A key whose first request is still in progress is rejected.
        """
        request_id = self.state.new_id("req_", 14)
        if "host" in request.headers:
            self.state.public_url = f"http://{request.headers['host']}"
        if request.path.startswith(CONTROL_PREFIX):
            return Admission(request=request, request_id=request_id)
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        in_flight_key = None if key is None else f"{request.headers.get('stripe-account', '')}:{key}"
        if key is not None and in_flight_key in self._in_flight:
            return Admission(request=request, request_id=request_id, rejection=idempotency.in_use(key))
        effects = tuple(
            self.state.faults.request_effects(
                method=request.method,
                path=request.path,
                idempotency_key=key,
                metadata=lambda: self._metadata_of(request),
            )
        )
        delay_ms = sum(effect["delay_ms"] for effect in effects if effect["kind"] == FaultKind.DELAY)
        reserved = in_flight_key if delay_ms else None
        if reserved is not None:
            self._in_flight.add(reserved)
        return Admission(
            request=request, request_id=request_id, effects=effects, delay_ms=delay_ms, reserved_key=reserved
        )

    def abandon(self, admission: Admission) -> None:
        """The client went away while its request waited: nothing was executed."""
        if admission.reserved_key is not None:
            self._in_flight.discard(admission.reserved_key)

    def _metadata_of(self, request: PspRequest) -> dict[str, str]:
        """The metadata that the request carries, else that of the object its path names."""
        try:
            sent = parse_form(request.body.decode()).get("metadata")
        except (ParameterProblem, UnicodeDecodeError):
            sent = None
        if isinstance(sent, dict):
            return {key: value for key, value in sent.items() if isinstance(value, str)}
        for part in request.path.split("/"):
            record = self.state.records.find(part)
            if record is not None:
                return dict(record.body.get("metadata") or {})
        return {}

    def execute(self, admission: Admission) -> PspReply:
        """Carry the request out whole, or not at all, and answer it."""
        self.abandon(admission)
        before = _first(admission.effects, FaultKind.TIMEOUT_BEFORE, FaultKind.RESET_BEFORE)
        if before is not None:
            return self._lost(before)
        failing = _first(admission.effects, FaultKind.STATUS)
        if failing is not None and not failing["after"]:
            return self._answer(admission, failing["status"], _injected(failing), {})
        status, payload, headers = self._carry_out(admission)
        after = _first(admission.effects, FaultKind.TIMEOUT_AFTER, FaultKind.RESET_AFTER)
        if after is not None:
            return self._lost(after)
        if failing is not None:
            return self._answer(admission, failing["status"], _injected(failing), {})
        return self._answer(admission, status, payload, headers)

    def _lost(self, effect: Json) -> PspReply:
        lost = "reset" if effect["kind"].startswith("reset") else "timeout"
        return PspReply(status=0, body=b"", headers={}, lost=lost, hold_ms=effect.get("hold_ms", 0))

    def _answer(self, admission: Admission, status: int, payload: Json, headers: dict[str, str]) -> PspReply:
        version = admission.request.headers.get("stripe-version") or self.settings.api_version
        common = {
            "Content-Type": "application/json",
            "Request-Id": admission.request_id,
            "Stripe-Version": version,
            "Cache-Control": "no-store",
        }
        return PspReply(status=status, body=msgspec.json.encode(payload), headers=common | headers)

    def _carry_out(self, admission: Admission) -> tuple[int, Json, dict[str, str]]:
        state, request = self.state, admission.request
        if state.timers:
            self.run_timers()
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        state.origin = RequestOrigin(admission.request_id, key)
        decline = _first(admission.effects, FaultKind.DECLINE)
        state.forced_decline = (
            None
            if decline is None
            else Decline(
                code=decline["code"], decline_code=decline["decline_code"], message=decline["message"]
            )
        )
        try:
            status, payload, headers = self._answered(admission, key)
            state.commit()
        except PspProblem as problem:
            state.rollback()
            return problem.status, {"error": self._with_request(problem, admission)}, {}
        except BaseException:
            state.rollback()
            raise
        return status, payload, headers

    def _with_request(self, problem: PspProblem, admission: Admission) -> Json:
        error = problem.error()
        for name in ("payment_intent", "setup_intent", "payment_method"):
            if name in error:
                error[name] = present(self.state, error[name], [])
        error["request_log_url"] = f"{CONTROL_PREFIX}requests/{admission.request_id}"
        return error

    def _answered(self, admission: Admission, key: str | None) -> tuple[int, Json, dict[str, str]]:
        """Route, authenticate, replay or run. What is staged is committed by the caller."""
        if admission.rejection is not None:
            raise admission.rejection
        request = admission.request
        handler, ids, exists = self._routes.find(request.method, request.path)
        account = acting_account(self.state, request)
        if handler is None:
            problem = "Unrecognized request URL" if not exists else "Method not allowed for this URL"
            raise PspProblem(f"{problem} ({request.method}: {request.path}).", status=405 if exists else 404)
        params = Params(parameters_of(request))
        client = not request.control and is_client(self.state, request)
        if client:
            check_client_call(self.state, request, params)
        shape = shape_of(handler, client=client)
        if shape is not None:
            check(params.raw(), shape)
        call = PspApiRequest(
            state=self.state,
            params=params,
            ids=ids,
            account=account,
            path=request.path,
            version=request.headers.get("stripe-version"),
        )
        if key is None or client:
            answer = self._run(handler, call)
            return 200, visible_to_client(answer) if client else answer, {}
        idempotency.check_key(key)
        fingerprint = idempotency.fingerprint(request.method, request.path, params.raw())
        stored = idempotency.find_answer(self.state, account, key, fingerprint, request.path)
        if stored is not None:
            return (
                stored["status"],
                stored["payload"],
                {
                    "Idempotent-Replayed": "true",
                    "Idempotency-Key": key,
                    "Original-Request": stored["request_id"],
                },
            )
        status, payload = self._run_stored(handler, call, admission)
        idempotency.store_answer(
            self.state,
            account,
            key,
            mark=fingerprint,
            path=request.path,
            status=status,
            payload=payload,
            request_id=admission.request_id,
        )
        return status, payload, {"Idempotency-Key": key, "Original-Request": admission.request_id}

    def _run(self, handler: Handler, call: PspApiRequest) -> Json:
        try:
            return present(self.state, handler(call), call.params.texts("expand"))
        except PspProblem as problem:
            if problem.keeps_effects:
                self.state.commit()
            raise

    def _run_stored(self, handler: Handler, call: PspApiRequest, admission: Admission) -> tuple[int, Json]:
        """As `_run`, with a rejection returned as the answer to store."""
        try:
            return 200, present(self.state, handler(call), call.params.texts("expand"))
        except PspProblem as problem:
            if not problem.keeps_answer:
                raise
            error = self._with_request(problem, admission)
            if not problem.keeps_effects:
                self.state.rollback()
            return problem.status, {"error": error}

    def run_timers(self) -> int:
        """Run the timers due by the business clock, each in its own transaction; returns how many."""
        count = 0
        self.state.origin = RequestOrigin()
        while (timer := self.state.next_due_timer()) is not None:
            self._fire(timer)
            self.state.commit()
            count += 1
        return count

    def _fire(self, timer: Timer) -> None:
        """Run one due timer; one that has become impossible is dropped."""
        try:
            TIMERS[timer.verb](self.state, timer.object_id, timer.account)
        except PspProblem:
            self.state.rollback()
            self.state.records.remove(timer.record_id)

    def signed(self, delivery: Json, *, timestamp: int) -> SignedWebhook | None:
        """A queued delivery, signed at a wall-clock second.

        None if its event or endpoint no longer exists.
        """
        record = self.state.records.find(delivery["event"])
        endpoint = self.state.webhooks.endpoints.get(delivery["endpoint"])
        if record is None or endpoint is None:
            return None
        body = msgspec.json.encode(record.body)
        signature = sign(body=body, secret=endpoint["_secret"], timestamp=timestamp)
        return SignedWebhook(
            delivery_id=delivery["id"],
            event_id=delivery["event"],
            endpoint_id=delivery["endpoint"],
            url=endpoint["url"],
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "Stripe-Signature": signature,
                "User-Agent": "Stripe/1.0 (sandbox)",
            },
            body=body,
        )

    def pop_webhooks(self, *, limit: int = 1000) -> list[SignedWebhook]:
        """Deliveries due by the business clock, for a caller that delivers them itself (`pull_webhooks`).

        Each counts as delivered unless it is passed to `requeue`. Signatures are of the wall's time.
        """
        self.run_timers()
        state = self.state
        due = state.webhooks.pop_due(now=state.delivery_now(), limit=limit)
        timestamp = int(time.time())
        signed = [webhook for item in due if (webhook := self.signed(item, timestamp=timestamp)) is not None]
        self.delivered([item["id"] for item in due])
        return signed

    def requeue(self, webhook: SignedWebhook) -> None:
        """The receiver did not accept it: it is due again as a first retry."""
        now = self.state.delivery_now()
        delivery: Json = {
            "id": webhook.delivery_id,
            "event": webhook.event_id,
            "endpoint": webhook.endpoint_id,
            "created": now,
            "attempts": 0,
        }
        self.state.webhooks.retry(delivery, now=now)

    def delivered(self, delivery_ids: list[str]) -> None:
        """Acknowledge deliveries: they are not sent again by a later process."""
        for delivery_id in delivery_ids:
            record = self.state.records.find(delivery_id)
            if record is None:
                continue
            self.state.records.remove(delivery_id)
            event = self.state.records.find(record.body["event"])
            if event is not None:
                pending = max(event.body["pending_webhooks"] - 1, 0)
                self.state.records.put(
                    "event", event.account, event.id, {**event.body, "pending_webhooks": pending}
                )
        self.state.commit()


def _first(effects: tuple[Json, ...], *kinds: FaultKind) -> Json | None:
    return next((effect for effect in effects if effect["kind"] in kinds), None)


def _injected(effect: Json) -> Json:
    status = effect["status"]
    code, kind, message = _INJECTED.get(status, (None, "api_error", "An unknown error occurred"))
    error: Json = {"message": effect.get("message") or message, "type": kind}
    code = effect["code"] or code
    if code is not None:
        error["code"] = code
    return {"error": error}
