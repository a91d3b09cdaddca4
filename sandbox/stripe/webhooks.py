"""Which event is sent to which endpoint, when and how signed: a queue that opens no socket.

Owns: the endpoints' wishes, due times, retries, delivery faults, the `Stripe-Signature` header (HMAC-SHA256
over `timestamp.body`, docs.stripe.com/webhooks/signature). Must not know: HTTP clients; the caller sends
what it takes.
"""

import hashlib
import heapq
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sandbox.stripe.problems import Json

RETRY_AFTER_S: Final = (1, 5, 30, 120, 600, 3600, 7200, 18_000, 36_000, 72_000, 86_400)
EVERYTHING: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedWebhook:
    """One delivery ready to be sent: raw body and headers; `delivery_id` acknowledges it."""

    delivery_id: str
    event_id: str
    endpoint_id: str
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(order=True, slots=True)
class Due:
    """A queued delivery, ordered by due second, then by arrival."""

    due: int
    order: int
    delivery: Json


class DeliveryRule(Protocol):
    """Decides, per delivery, how it is disturbed."""

    def webhook_effects(self, *, event_type: str) -> Sequence[Json]:
        """The faults that apply to this delivery, in the order they were set."""


def sign(*, body: bytes, secret: str, timestamp: int) -> str:
    """The signature header's value for a raw body at a wall-clock second."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class WebhookQueue:
    """Deliveries in the order they fall due."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Json] = {}
        self.rule: DeliveryRule | None = None
        self._queue: list[Due] = []
        self._staged: list[tuple[str, Json]] = []
        self._held: list[Json] = []
        self._order = 0

    def add_endpoint(self, endpoint: Json) -> None:
        """Add or replace an endpoint."""
        self.endpoints[endpoint["id"]] = endpoint

    def delist(self, endpoint_id: str) -> None:
        """Forget an endpoint; what was queued for it is dropped when it falls due."""
        self.endpoints.pop(endpoint_id, None)

    def subscribers(self, event_type: str, *, connected: bool) -> list[str]:
        """Ids of the enabled endpoints that subscribe to this type, from this kind of account."""
        return [
            endpoint["id"]
            for endpoint in self.endpoints.values()
            if endpoint["status"] == "enabled"
            and (endpoint["_connect"] is None or endpoint["_connect"] is connected)
            and (EVERYTHING in endpoint["enabled_events"] or event_type in endpoint["enabled_events"])
        ]

    def stage(self, *, event: Json, endpoint_id: str, now: int) -> Json:
        """Stage a delivery that is queued with `commit`; its record is returned to be stored."""
        delivery: Json = {
            "id": f"delivery:{event['id']}:{endpoint_id}",
            "event": event["id"],
            "endpoint": endpoint_id,
            "created": now,
            "attempts": 0,
        }
        self._staged.append((event["type"], delivery))
        return delivery

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged = []

    def commit(self) -> None:
        """Queue what was staged, disturbed as the rule requires."""
        for event_type, delivery in self._staged:
            effects = self.rule.webhook_effects(event_type=event_type) if self.rule is not None else ()
            self._queue_disturbed(delivery, effects)
        self._staged = []

    def _queue_disturbed(self, delivery: Json, effects: Sequence[Json]) -> None:
        copies, late_s, held = 1, 0, False
        for effect in effects:
            match effect["kind"]:
                case "drop":
                    copies = 0
                case "duplicate":
                    copies = max(copies, effect.get("copies", 2))
                case "late":
                    late_s += effect["late_s"]
                case "disorder":
                    held = True
                case _:
                    pass
        if held and copies:
            self._held.append(delivery)
            return
        for _ in range(copies):
            self._push(delivery["created"] + late_s if late_s else 0, delivery)
        if copies:
            self.release_held()

    def release_held(self) -> None:
        """Queue the deliveries that were waiting for a later one to overtake them."""
        held, self._held = self._held, []
        for delivery in held:
            self._push(0, delivery)

    def _push(self, due: int, delivery: Json) -> None:
        self._order += 1
        heapq.heappush(self._queue, Due(due, self._order, delivery))

    def restore(self, delivery: Json) -> None:
        """Queue again a delivery that an earlier process had stored and not seen acknowledged."""
        self._push(0, delivery)

    def pop_due(self, *, now: int, limit: int) -> list[Json]:
        """Up to `limit` deliveries that are due at `now`; each is acknowledged or retried by the caller."""
        due: list[Json] = []
        while self._queue and self._queue[0].due <= now and len(due) < limit:
            delivery = heapq.heappop(self._queue).delivery
            if delivery["endpoint"] in self.endpoints:
                due.append(delivery)
        return due

    def retry(self, delivery: Json, *, now: int) -> bool:
        """Queue a failed delivery again, later each time. False once the last attempt has been made."""
        attempts = delivery["attempts"] + 1
        if attempts > len(RETRY_AFTER_S):
            return False
        self._push(now + RETRY_AFTER_S[attempts - 1], {**delivery, "attempts": attempts})
        return True

    def __len__(self) -> int:
        return len(self._queue) + len(self._held)
