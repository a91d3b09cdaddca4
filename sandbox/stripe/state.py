"""The sandbox's state: objects, ledger, clock, ids, timers and events behind one transaction per request.

Owns: how a handler reads, edits and announces an object. Must not know: HTTP, any one resource's rules.
"""

import heapq
import random
import secrets
import time
from binascii import b2a_base64
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from sandbox.stripe.balance_transactions import DAY_S, Ledger, balance_transaction
from sandbox.stripe.business_clock import BusinessClock
from sandbox.stripe.cards import Decline
from sandbox.stripe.conversion import converted, exchange_rate, settlement_currency
from sandbox.stripe.faults import FaultRules
from sandbox.stripe.problems import Json, missing
from sandbox.stripe.records import PspObject, Records
from sandbox.stripe.settings import PLATFORM_ACCOUNT, PspSettings
from sandbox.stripe.webhooks import WebhookQueue

LOOKUPS: Final = {
    "payment_intent": ("metadata", "customer"),
    "charge": ("payment_intent", "customer", "transfer_group"),
    "refund": ("charge", "payment_intent"),
    "dispute": ("charge", "payment_intent"),
    "transfer": ("transfer_group", "destination", "source_transaction"),
    "transfer_reversal": ("transfer",),
    "balance_transaction": ("source", "type"),
    "event": ("type",),
    "payment_method": ("customer",),
    "setup_intent": ("customer",),
    "customer": ("email",),
}
_LETTERS: Final = bytes.maketrans(b"+/=", b"xyz")  # ids are letters and digits
_ID_LENGTH: Final = 24
CLOCK_RECORD: Final = "sandbox_clock"


@dataclass(slots=True)
class RequestOrigin:
    """The request that causes what happens: named in each event."""

    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass(order=True, slots=True)
class Timer:
    """An action due at a business second: `verb` on the object `object_id`."""

    due: int
    verb: str
    object_id: str
    account: str = field(compare=False)

    @property
    def record_id(self) -> str:
        """Under which id the timer is stored."""
        return timer_id(self.verb, self.object_id)


def timer_id(verb: str, object_id: str) -> str:
    """The id of the stored timer that does `verb` to the object; removing it cancels the timer."""
    return f"timer:{verb}:{object_id}"


class PspState:
    """What handlers work on. All changes are staged until `commit`."""

    def __init__(self, settings: PspSettings) -> None:
        self.settings = settings
        self.clock = BusinessClock(start_at=settings.start_at)
        self.records = Records(
            path=settings.state_path, lookups=LOOKUPS, cache_records=settings.cache_records
        )
        self.ledger = Ledger()
        self.faults = FaultRules()
        self.webhooks = WebhookQueue()
        self.webhooks.rule = self.faults
        self.origin = RequestOrigin()
        self.forced_decline: Decline | None = None
        self.timers: list[Timer] = []
        self.records.load(self._restore)
        self._random = random.Random(self._seed())  # noqa: S311 - ids of a sandbox; secrets have their own source

    def _seed(self) -> str:
        """Ids repeat for a seed, and never collide with those of an earlier run over the same file."""
        if self.settings.seed is None:
            return secrets.token_hex(16)
        return f"{self.settings.seed}:{self.records.next_seq}"

    def _restore(self, record: PspObject) -> None:
        """Rebuild from a stored object what is derived from it."""
        body = record.body
        match record.kind:
            case "sandbox":
                self.clock.restore(value=body["value"], frozen=body["frozen"])
            case "balance_transaction":
                self.ledger.count(record.account, body, now=0)  # matures when it is next looked at
            case "webhook_endpoint":
                self.webhooks.add_endpoint(body)
            case "delivery":
                self.webhooks.restore(body)
            case "timer":
                timer = Timer(body["due"], body["verb"], body["object_id"], body["account"])
                heapq.heappush(self.timers, timer)
            case _:
                pass

    @property
    def now(self) -> int:
        """The business clock's Unix second."""
        return self.clock.now()

    def delivery_now(self) -> int:
        """The second that deliveries are timed by.

        The business clock where they are pulled, else the wall's.
        """
        return self.now if self.settings.pull_webhooks else int(time.time())

    def new_id(self, prefix: str, length: int = _ID_LENGTH) -> str:
        """A fresh id such as `pi_...`."""
        letters = b2a_base64(self._random.randbytes(length), newline=False).translate(_LETTERS)
        return prefix + letters[:length].decode()

    def new_secret(self, prefix: str) -> str:
        """A fresh secret: unguessable, except where a seed makes runs repeatable."""
        return self.new_id(prefix, 32) if self.settings.seed is not None else prefix + secrets.token_hex(16)

    def get(self, kind: str, object_id: str, account: str = PLATFORM_ACCOUNT, *, param: str = "id") -> Json:
        """A copy of the object, to edit and `put`.

        Raises PspProblem (404) where the account has no such object.
        """
        record = self.records.find(object_id)
        if record is None or record.kind != kind or record.account != account:
            raise missing(kind, object_id, param=param)
        return dict(record.body)

    def peek(self, kind: str, object_id: str) -> Json | None:
        """The object of whichever account, or None; not to be changed."""
        record = self.records.find(object_id)
        return record.body if record is not None and record.kind == kind else None

    def put(self, kind: str, body: Json, account: str = PLATFORM_ACCOUNT) -> Json:
        """Stage an object under its own id; the same body is returned."""
        self.records.put(kind, account, body["id"], body)
        return body

    def at(self, due: int, verb: str, object_id: str, account: str = PLATFORM_ACCOUNT) -> None:
        """Stage a timer: `verb` is done to the object once the business clock has reached `due`."""
        timer = {
            "id": timer_id(verb, object_id),
            "due": due,
            "verb": verb,
            "object_id": object_id,
            "account": account,
        }
        self.put("timer", timer, account)
        heapq.heappush(self.timers, Timer(due, verb, object_id, account))

    def next_due_timer(self) -> Timer | None:
        """Remove and return the next timer that is due; None when there is none."""
        while self.timers and self.timers[0].due <= self.now:
            timer = heapq.heappop(self.timers)
            key = timer.record_id
            stored = self.records.find(key)
            if stored is None or stored.body["due"] != timer.due:
                continue  # cancelled, rolled back or moved
            self.records.remove(key)
            return timer
        return None

    def post(
        self,
        *,
        kind: str,
        source: str,
        amount: int,
        currency: str,
        account: str = PLATFORM_ACCOUNT,
        fee: int = 0,
        available_on: int | None = None,
        description: str | None = None,
        category: str | None = None,
    ) -> Json:
        """Move money: stage one balance transaction of `amount` less `fee` and return it.

        `amount` of `currency` is converted where the account doesn't settle in it; `fee` is in the settlement
        currency.
        """
        settled, settles_in, rate = self.settle(amount, currency, account)
        transaction = balance_transaction(
            transaction_id=self.new_id("txn_"),
            kind=kind,
            source=source,
            amount=settled,
            fee=fee,
            currency=settles_in,
            exchange_rate=rate,
            now=self.now,
            available_on=self.now if available_on is None else available_on,
            description=description,
            category=category,
        )
        self.ledger.stage(account, transaction)
        return self.put("balance_transaction", transaction, account)

    def settle(self, amount: int, currency: str, account: str) -> tuple[int, str, Decimal | None]:
        """`amount` as the account receives it: its settlement currency, and the rate where it is converted.

        Connected accounts settle every currency in itself.
        """
        allowed = self.settings.settlement_currencies if account == PLATFORM_ACCOUNT else ()
        settles_in = settlement_currency(currency, allowed)
        if settles_in == currency:
            return amount, currency, None
        rate = exchange_rate(
            currency, settles_in, margin_basis_points=self.settings.conversion_basis_points, now=self.now
        )
        return converted(amount, rate, base=currency, quote=settles_in), settles_in, rate

    def settles_on(self) -> int:
        """The second from which money captured now is available."""
        return self.now + self.settings.settlement_days * DAY_S

    def emit(
        self, event_type: str, body: Json, account: str = PLATFORM_ACCOUNT, previous: Json | None = None
    ) -> None:
        """Stage an event with a snapshot of `body`, and its deliveries to the subscribed endpoints."""
        data: Json = {"object": {key: value for key, value in body.items() if key[0] != "_"}}
        if previous is not None:
            data["previous_attributes"] = previous
        connected = account != PLATFORM_ACCOUNT
        subscribers = self.webhooks.subscribers(event_type, connected=connected)
        event: Json = {
            "id": self.new_id("evt_"),
            "object": "event",
            "api_version": self.settings.api_version,
            "created": self.now,
            "data": data,
            "livemode": False,
            "pending_webhooks": len(subscribers),
            "request": {"id": self.origin.request_id, "idempotency_key": self.origin.idempotency_key},
            "type": event_type,
        }
        if connected:
            event["account"] = account
        self.put("event", event, account)
        for endpoint in subscribers:
            delivery = self.webhooks.stage(event=event, endpoint_id=endpoint, now=self.delivery_now())
            self.put("delivery", delivery)

    def commit(self) -> None:
        """Store and show everything this request staged."""
        self.records.commit()
        self.ledger.commit(self.now)
        self.webhooks.commit()

    def rollback(self) -> None:
        """Discard everything this request staged."""
        self.records.rollback()
        self.ledger.rollback()
        self.webhooks.rollback()
