"""What must hold after every step, and what must hold when all is quiet.

Owns: the checks. Must not know: what was played. Each finding is a sentence with the ids that it is about.
Prices are checked against the market's own arithmetic, the PSP's record is read from the PSP's own objects.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from gateway.audit.checks import AuditResult
from gateway.audit.daily_audit import audit_daily
from gateway.audit.system_audit import audit_system
from gateway.ids import format_id, parse_id
from gateway.payments.state_machine import FINAL_STATES, TRANSITIONS, PaymentState
from tests.simulation.application import Simulated
from tests.simulation.drivers import unrecorded_setups

_OWED: Final = """
SELECT party.id, party.connected_account,
       EXISTS (SELECT 1 FROM clearing.payout_hold AS h
               WHERE h.party_id = party.id AND h.rail = 'psp' AND h.lifted_at IS NULL) AS held,
       EXISTS (SELECT 1 FROM clearing.payable AS p
               WHERE p.party_id = party.id AND p.state = 'open' AND p.amount_minor > 0) AS due
FROM clearing.party AS party WHERE party.connected_account IS NOT NULL ORDER BY party.id
"""
_OPEN: Final = {"requires_capture", "requires_action", "requires_confirmation"}
_SUCCEEDED: Final = "succeeded"


class BrokenRuleError(AssertionError):
    """Something that must never be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Our rows and the PSP's objects at one moment."""

    sessions: Mapping[UUID, Mapping[str, Any]]
    authorizations: Mapping[UUID, Mapping[str, Any]]
    captures: Mapping[UUID, Mapping[str, Any]]
    open_requests: Mapping[UUID, Sequence[str]]
    intents: Sequence[Mapping[str, Any]]

    def digest(self) -> str:
        """All of it in sixteen characters, for a replay to be compared by."""
        whole = [
            [sorted((str(key), str(dict(row))) for key, row in rows.items())]
            for rows in (self.sessions, self.authorizations, self.captures)
        ]
        return sha256(f"{whole}{self.intents}".encode()).hexdigest()[:16]


@dataclass(slots=True, kw_only=True)
class Checks:
    """Remembers what it saw, so that a way back out of a final state is noticed. `most_minor` is the highest
    price that a session's CDRs have by the shown tariff."""

    most_minor: dict[UUID, int] = field(default_factory=dict)
    calm_since: datetime | None = None
    by_hand: set[str] = field(default_factory=set)  # payments that somebody captured at the PSP
    _states: dict[UUID, PaymentState] = field(default_factory=dict)

    async def read(self, system: Simulated) -> Books:
        async with system.pool.acquire() as connection:
            sessions = await connection.fetch(
                "SELECT id, shard, state, price_minor, cdr_id, session_ref, evse_id, "
                "demand_partner_id, cpo_id, stated_by, flags "
                "FROM gateway.session ORDER BY id"
            )
            authorizations = await connection.fetch("SELECT * FROM gateway.payment_authorization ORDER BY id")
            captures = await connection.fetch("SELECT * FROM gateway.capture ORDER BY id")
            calls = await connection.fetch(
                "SELECT session_id, kind FROM gateway.psp_request "
                "WHERE state IN ('intended', 'unknown') ORDER BY id"
            )
        open_requests: dict[UUID, list[str]] = defaultdict(list)
        for call in calls:
            open_requests[call["session_id"]].append(call["kind"])
        return Books(
            sessions={row["id"]: row for row in sessions},
            authorizations={row["id"]: row for row in authorizations},
            captures={row["session_id"]: row for row in captures},
            open_requests=open_requests,
            intents=system.objects("payment_intent"),
        )

    def step(self, books: Books) -> None:
        """After every step. Raises BrokenRuleError."""
        found = [
            *self._transitions(books),
            *self._sessions(books),
            *self._once(books),
            *self._ours_and_theirs(books),
        ]
        if found:
            raise BrokenRuleError("\n".join(found))

    async def midway(self, system: Simulated) -> None:
        """While requests are open and tasks wait: the audit compares, and what is under way explains it all.

        Only while nothing happened at the PSP that we did not ask for. Raises BrokenRuleError.
        """
        audit = await audit_system(system.pool, clock=system.hands, psp=system.psp)
        compared = [one for one in audit.checks if one.name.startswith("psp_")]
        daily = (await audit_daily(system.pool, clock=system.hands, psp=system.psp, shares=2)).audit
        compared += [one for one in daily.checks if one.name == "psp_balance"]
        found = [
            f"midway {one.name} {one.subject} {one.result}: {one.compared}; under way: {one.left_out}"
            for one in compared
            # What a settlement currency brought is booked by the hourly comparison.
            if one.result is not AuditResult.AGREES and one.name != "psp_converted"
        ]
        if found:
            raise BrokenRuleError("\n".join(found))

    async def _daily(self, system: Simulated, owed: dict[str, int]) -> list[str]:
        """What a daily audit finds: it goes on from the one midway, if that found nothing, and then again."""
        found: list[str] = []
        for _ in range(2):
            daily = await audit_daily(system.pool, clock=system.hands, psp=system.psp, shares=2)
            found += [
                f"daily audit {one.check} {one.subject}: {one.detail}"
                for one in daily.audit.all_findings
                if not (one.check == "captured_is_price" and one.subject in owed)
            ]
        return found

    async def end(self, system: Simulated, books: Books) -> None:
        """When nothing is left to do. Raises BrokenRuleError."""
        owed = await _sent_back(system)
        found = [*self._stuck(books), *_leaked_holds(books), *await self._by_hand(system, books, owed)]
        found += await self._held_as_the_psp_says(system)
        found += await unrecorded_setups(system)
        audit = await audit_system(system.pool, clock=system.hands, psp=system.psp)
        found += [
            f"audit {one.check} {one.subject}: {one.detail}"
            for one in audit.all_findings
            if not (one.check == "captured_is_price" and one.subject in owed)
        ]
        found += await self._daily(system, owed)
        found += [
            f"{name} keeps {over} above its price besides what a bank sent back"
            for name, over in owed.items()
            if over
        ]
        open_work = audit.open_work
        if not open_work.is_idle or open_work.exception_tasks:
            async with system.pool.acquire() as connection:
                tasks = await connection.fetch(
                    "SELECT kind, session_id, last_error, exception_at FROM gateway.task"
                )
            found.append(f"not idle: {open_work} {[dict(task) for task in tasks]}")
        if found:
            raise BrokenRuleError("\n".join(found))

    async def _held_as_the_psp_says(self, system: Simulated) -> list[str]:
        """A party that is owed something has a payout hold exactly while the PSP can't pay its account.

        Once all is calm, no transfer is sent to learn it.
        """
        async with system.pool.acquire() as connection:
            owed = await connection.fetch(_OWED)
            refused = await connection.fetch(
                "SELECT id FROM clearing.disbursement "
                "WHERE failure LIKE '%insufficient_capabilities%' AND finished_at > $1::timestamptz",
                (self.calm_since or system.hands.at) + timedelta(hours=1),
            )
        accounts = {one["id"]: one["capabilities"]["transfers"] for one in system.objects("account")}
        found = [f"disbursement {row['id']} was sent to an account that can't be paid" for row in refused]
        for row in owed:
            payable = accounts[row["connected_account"]] == "active"
            if payable and row["held"]:
                found.append(f"{row['id']} is on hold though the PSP can pay its account")
            if not payable and row["due"] and not row["held"]:
                found.append(f"{row['id']} is owed money, its account can't be paid, and no hold says so")
        return found

    def _transitions(self, books: Books) -> list[str]:
        found = []
        for identifier, row in books.authorizations.items():
            state = PaymentState(row["state"])
            before = self._states.get(identifier)
            if before is not None and state not in _reachable(before):
                found.append(f"{format_id('auth', identifier)} went from {before} to {state}: no such way")
            self._states[identifier] = state
        return found

    def _sessions(self, books: Books) -> list[str]:
        """An uncompleted session is active exactly while an authorization of it is."""
        active = {
            row["session_id"]
            for row in books.authorizations.values()
            if PaymentState(row["state"]) not in {PaymentState.VOIDED, PaymentState.FAILED}
        }
        return [
            f"{format_id('ses', session_id)} is {session['state']}, its authorization says otherwise"
            for session_id, session in books.sessions.items()
            if session["cdr_id"] is None
            and session["state"] != ("active" if session_id in active else "cancelled")
        ]

    def _once(self, books: Books) -> list[str]:
        """At most one capture and one charge beside it per session, at the PSP; never above the tariff."""
        captured: dict[str, dict[str, int]] = defaultdict(dict)
        found = []
        for intent in books.intents:
            if intent["status"] != _SUCCEEDED or intent["id"] in self.by_hand:
                continue
            metadata = intent["metadata"]
            kind = "residual_charge" if "residual_charge_for" in metadata else "capture"
            if kind in captured[metadata["session"]]:
                found.append(f"a second {kind} of {metadata['session']} at the PSP: {intent['id']}")
            captured[metadata["session"]][kind] = intent["amount_received"]
        for session_id in books.sessions:
            name = format_id("ses", session_id)
            total = sum(captured.get(name, {}).values())
            most = self.most_minor.get(session_id, 0)
            if total > most:
                found.append(f"the PSP took {total} for {name}, whose tariff comes to {most}")
            capture = books.captures.get(session_id)
            if capture is None or capture["psp_charge"] in self.charges_by_hand(books):
                continue
            if capture["state"] == _SUCCEEDED and capture["amount_minor"] > most:
                found.append(f"captured {capture['amount_minor']} of {name}, whose tariff comes to {most}")
        return found

    def _ours_and_theirs(self, books: Books) -> list[str]:
        """What the PSP took we have, or an open request of ours is about to learn it; and nothing else."""
        found = []
        theirs: dict[str, int] = defaultdict(int)
        by_hand = self.charges_by_hand(books)
        for intent in books.intents:
            if intent["status"] == _SUCCEEDED and intent["id"] not in self.by_hand:
                theirs[intent["metadata"]["session"]] += intent["amount_received"]
        for session_id in books.sessions:
            if books.open_requests.get(session_id):
                continue
            capture = books.captures.get(session_id)
            on_account = capture is not None and (
                books.authorizations[capture["authorization_id"]]["funding"] == "partner_account"
            )
            ours = capture["amount_minor"] if capture is not None and capture["state"] == _SUCCEEDED else 0
            if capture is not None and capture["psp_charge"] in by_hand:
                ours = capture["residual_charge_minor"] if capture["state"] == _SUCCEEDED else 0
            name = format_id("ses", session_id)
            if theirs[name] != (0 if on_account else ours):
                found.append(f"{name}: the PSP took {theirs[name]}, we have {ours}, and no request is open")
        return found

    def charges_by_hand(self, books: Books) -> set[str]:
        return {
            intent["latest_charge"]
            for intent in books.intents
            if intent["id"] in self.by_hand and intent["status"] == _SUCCEEDED
        }

    async def _by_hand(self, system: Simulated, books: Books, owed: Mapping[str, int]) -> list[str]:
        """Money captured by hand is a capture of its session, never above its price, or was refunded.

        In `owed` sessions what a bank sent back is above the price, and nothing besides (`end`).
        """
        async with system.pool.acquire() as connection:
            rows = await connection.fetch("SELECT psp_payment, state FROM gateway.unbooked_charge")
        states = {row["psp_payment"]: row["state"] for row in rows}
        found = []
        captures = {row["psp_charge"]: row for row in books.captures.values() if row["state"] == _SUCCEEDED}
        for intent in books.intents:
            if intent["id"] not in self.by_hand or intent["status"] != _SUCCEEDED:
                continue
            capture = captures.get(intent["latest_charge"])
            if capture is None and states.get(intent["id"]) != "refunded":
                found.append(f"{intent['id']} was captured by hand and is {states.get(intent['id'])}")
            elif capture is not None and capture["psp_charge"] is not None:
                kept = capture["amount_minor"] - capture["refunded_minor"] - capture["disputed_minor"]
                most = self.most_minor.get(capture["session_id"], 0)
                if kept > most and format_id("ses", capture["session_id"]) not in owed:
                    found.append(f"{intent['id']}: {kept} is kept, and its tariff comes to {most}")
        return found

    def _stuck(self, books: Books) -> list[str]:
        found = []
        for session_id, calls in books.open_requests.items():
            found.append(f"{format_id('ses', session_id)}: requests still open: {calls}")
        for identifier, row in books.authorizations.items():
            if PaymentState(row["state"]) not in FINAL_STATES:
                session = books.sessions[row["session_id"]]
                found.append(
                    f"{format_id('auth', identifier)} of {session['session_ref']} is still {row['state']} "
                    f"({row['funding']}, until {row['capture_before']}, session {session['state']})"
                )
        for session_id, session in books.sessions.items():
            capture = books.captures.get(session_id)
            captured = capture is not None and capture["state"] == _SUCCEEDED
            owed = session["state"] == "completed" and session["price_minor"] > 0
            if owed or (captured and session["state"] != "cleared"):
                found.append(
                    f"{format_id('ses', session_id)} is {session['state']} at {session['price_minor']}, "
                    f"captured: {captured}, flags {session['flags']}"
                )
        return found


def _leaked_holds(books: Books) -> list[str]:
    """Money of a cardholder that the PSP still holds though nobody here waits for it."""
    return [
        f"{intent['id']} of {intent['metadata'].get('session')} is still {intent['status']} at the PSP"
        for intent in books.intents
        if intent["status"] in _OPEN
    ]


async def _sent_back(system: Simulated) -> dict[str, int]:
    """Sessions whose driver's bank sent a refund back: what they keep above their price, had it arrived.

    The audit names them until somebody refunds again, but only for what came back: had the bank taken the
    money, no more than the price would be kept. Where the bank was faster than the PSP's answer about the
    refund, only the PSP's own object shows that it existed.
    """
    returned = [
        parse_id("ref", one["metadata"]["refund"])
        for one in system.objects("refund")
        if one["status"] == "failed" and "refund" in one["metadata"]
    ]
    async with system.pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT s.id, greatest(c.amount_minor - c.refunded_minor - c.disputed_minor - r.sent_back"
            " - s.price_minor, 0)::bigint AS over "
            "FROM (SELECT shard, session_id, sum(amount_minor) AS sent_back FROM gateway.refund "
            "      WHERE state = 'failed' AND (psp_refund IS NOT NULL OR id = ANY($1::uuid[])) "
            "      GROUP BY shard, session_id) AS r "
            "JOIN gateway.session AS s ON s.shard = r.shard AND s.id = r.session_id "
            "JOIN gateway.capture AS c ON c.shard = s.shard AND c.session_id = s.id",
            returned,
        )
    return {format_id("ses", row["id"]): row["over"] for row in rows}


def _reachable(state: PaymentState) -> frozenset[PaymentState]:
    """The state itself and all that the diagram leads to from it."""
    seen = {state}
    frontier = [state]
    while frontier:
        here = frontier.pop()
        for (origin, _), target in TRANSITIONS.items():
            if origin is here and target not in seen:
                seen.add(target)
                frontier.append(target)
    return frozenset(seen)


QUIET_AFTER: Final = timedelta(days=45)  # past every deadline: holds, challenges, CDRs, questions, payouts
