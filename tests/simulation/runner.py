"""One seed: partners, operators, cardholders, banks, a faulty PSP and dying processes, interleaved by rng.

Owns: what may happen and how often, the calm afterwards, and the history that proves a replay. Must not know:
what must hold; the checks run after each step.
"""

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import transaction
from gateway.ids import format_id, new_id
from gateway.jobs.shard_job import ShardJob
from gateway.ocpi.repository import cdrs as cdr_repository
from gateway.ocpi.repository.cdrs import NewCdr
from gateway.payments import stated_usage, unbooked_charges
from gateway.payments.errors import PaymentConflictError, PaymentError
from gateway.payments.records import last_known_cdr_id
from gateway.payments.refund import RefundReason, RefundRequest
from gateway.payments.requests import AuthorizationRequest, Estimate, PartnerAccount, PspMethod
from gateway.payments.unbooked_charges import ChargeAction
from sandbox.stripe.webhooks import SignedWebhook
from tests.simulation.application import Ground, Simulated
from tests.simulation.checks import QUIET_AFTER, Books, BrokenRuleError, Checks
from tests.simulation.drivers import RETURN_URL, Drivers
from tests.simulation.in_process import Verdict, deliver
from tests.simulation.interleaving import Operation, Turns
from tests.simulation.market import PARKING, PLACES, SUPERAPP, Place, cdr_tree
from tests.simulation.workers import MOST_WORKERS, SimulatedWorkers

STEPS: Final = 70
_MOST_UNDER_WAY: Final = 5
_MOST_ROUNDS: Final = 500
_RARE_LOOKS: Final = timedelta(hours=12)  # at what no look can change
_CREDIT_ALONE: Final = 0.3  # of the corrections: no other CDR follows
_ABSURD: Final = 0.15  # of CDRs and of what is stated: watt-hours where kilowatt-hours are due
_BY_OPERATOR: Final = 0.3  # of what is stated by API: by the CPO's key, the rest by the payer's
_SEEDS_PER_CONVERTING_ACCOUNT: Final = 4  # one account in so many settles in euro alone
_CARDS: Final = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_mastercard",
    "pm_card_visa_chargeDeclined",
    "pm_card_authenticationRequired",
    "pm_card_createDispute",
    "pm_card_createDisputeInquiry",
    "pm_card_pendingRefund",
    "pm_card_refundFail",
)
_UNSETTLED: Final = ("pm_card_createDispute", "pm_card_pendingRefund", "pm_card_refundFail")
_MOST_DECISIONS: Final = 3
_FOUL: Final = (
    Verdict.LOST_BEFORE,
    Verdict.LOST_AFTER,
    Verdict.LOST_AFTER,
    Verdict.ERROR_BEFORE,
    Verdict.ERROR_AFTER,
    Verdict.RATE_LIMITED,
)
_DECISIONS: Final = (
    stated_usage.UsageAction.TAKE_AS_IS,
    stated_usage.UsageAction.TAKE_LOWER,
    stated_usage.UsageAction.RELEASE,
)
_JUMPS: Final = (
    timedelta(seconds=6),
    timedelta(seconds=6),
    timedelta(seconds=31),
    timedelta(minutes=2),
    timedelta(minutes=6),
    timedelta(hours=1, minutes=1),
    timedelta(hours=6),
    timedelta(days=1, hours=1),
    timedelta(days=4),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a seed. `digest` is equal exactly when everything went the same way."""

    seed: int
    steps: int
    digest: str
    counts: dict[str, int]
    broken: str | None
    history: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Game:
    """The state of one seed's play."""

    system: Simulated
    seed: int
    turns: Turns = field(default_factory=Turns)
    checks: Checks = field(default_factory=Checks)
    orders: list[AuthorizationRequest] = field(default_factory=list)
    mail: list[SignedWebhook] = field(default_factory=list)
    cdrs: dict[UUID, list[dict[str, Any]]] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    psp_down_until: datetime | None = None
    foulness: float = 0.15
    drivers: Drivers = field(init=False)
    workers: SimulatedWorkers = field(init=False)
    paid_out_on: date | None = None

    def __post_init__(self) -> None:
        self.drivers = Drivers(system=self.system)
        self.workers = SimulatedWorkers(pool=self.system.pool, clock=self.system.hands, counts=self.counts)

    @property
    def rng(self) -> random.Random:
        return self.system.rng

    def note(self, what: str) -> None:
        self.history.append(f"{self.system.hands.at:%m-%dT%H:%M:%S} {what}")
        name = what.split(" ", maxsplit=1)[0]
        self.counts[name] = self.counts.get(name, 0) + 1

    # What may happen

    async def step(self, books: Books) -> None:
        waiting = self.turns.waiting
        if waiting and (len(waiting) >= _MOST_UNDER_WAY or self.rng.random() < 0.55):
            await self.let_one_go_on(self.rng.choice(waiting))
            return
        actions: list[tuple[int, Callable[[Books], Coroutine[Any, Any, None]]]] = [
            (14, self.authorize),
            (4, self.authorize_again),
            (3, self.second_method),
            (14, self.cdr_by_api),
            (8, self.cdr_by_ocpi),
            (3, self.another_cdr),
            (3, self.correction),
            (3, self.release),
            (3, self.increment),
            (7, self.refund),
            (5, self.cardholder_acts),
            (4, self.dispute),
            (3, self.close_dispute),
            (2, self.fail_refund),
            (2, self.account_changes),
            (4, self.capture_by_hand),
            (4, self.setup),
            (6, self.driver_acts),
            (1, self.cancel_setup),
            (1, self.remove_method),
            (2, self.decide_charge),
            (10, self.post),
            (22, self.job),
            (6, self.worker_renews),
            (6, self.worker_looks),
            (2, self.worker_ends),
            (9, self.time_passes),
            (1, self.psp_goes_down),
            (12, self.update),
        ]
        weights = [weight for weight, _ in actions]
        await self.rng.choices([action for _, action in actions], weights)[0](books)

    async def let_one_go_on(self, operation: Operation) -> None:
        assert operation.waits_with is not None
        sent = f"{operation.waits_with.method} {_shape(operation.waits_with.path)}"
        draw = self.rng.random()
        if draw < 0.06:
            after = self.rng.random() < 0.6
            self.note(f"killed {operation.name} at {sent} {'after' if after else 'before'} its effect")
            await self.turns.kill(operation, after_effect=after)
            return
        verdict = Verdict.DELIVER
        if self.down:
            verdict = Verdict.LOST_BEFORE
        elif draw < 0.06 + self.foulness:
            verdict = self.rng.choice(_FOUL)
        self.note(f"{verdict} {operation.name} {sent}")
        await self.turns.go_on(operation, verdict)

    @property
    def down(self) -> bool:
        return self.psp_down_until is not None and self.system.hands.at < self.psp_down_until

    async def do(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        self.note(name)
        await self.turns.start(name, work)

    async def authorize(self, _books: Books) -> None:
        if len(self.orders) >= 14:
            return
        place = PLACES[self.rng.choice(sorted(PLACES))]
        await self.drivers.read_saved()
        order = self.order(place, ref=f"S{len(self.orders)}")
        self.orders.append(order)
        await self.do(
            f"authorize {order.session_ref} {_paid_by(order)}", self.system.payments.authorize(order)
        )

    def order(self, place: Place, *, ref: str) -> AuthorizationRequest:
        kind = self.rng.random()
        estimate = Estimate(energy_wh=self.rng.choice((10_000, 20_000, 40_000)), duration_s=3600)
        payment: PspMethod | PartnerAccount
        party, method = PARKING, "card"
        if kind < 0.45:
            comes_back = RETURN_URL if self.rng.random() < 0.5 else None
            payment = PspMethod(payment_method=self.rng.choice(_CARDS), return_url=comes_back)
        elif kind < 0.75:
            party, method = SUPERAPP, "app"
            known = [*self.system.customers.values(), *self.drivers.saved]
            customer, token = self.rng.choice(known)
            away = self.rng.random() < 0.5
            payment = PspMethod(
                payment_method=token,
                customer=customer,
                off_session=away,
                return_url=None if away else RETURN_URL,
            )
        else:
            party, method = SUPERAPP, self.rng.choice(("app", "plug_and_charge"))
            payment = PartnerAccount()
        return AuthorizationRequest(
            authorization_id=new_id(),
            party_id=party,
            evse_id=place.evse_id,
            method=method,
            payment=payment,
            session_ref=ref,
            estimate=estimate,
            cpo_id=place.cpo_id,
        )

    async def authorize_again(self, _books: Books) -> None:
        """A partner that repeats itself."""
        if self.orders:
            order = self.rng.choice(self.orders)
            await self.do(f"repeat {order.session_ref}", self.system.payments.authorize(order))

    async def second_method(self, _books: Books) -> None:
        if self.orders:
            first = self.rng.choice(self.orders)
            order = self.order(PLACES[first.evse_id], ref=first.session_ref or "")
            await self.do(
                f"second_method {first.session_ref} {_paid_by(order)}", self.system.payments.authorize(order)
            )

    async def cdr_by_api(self, books: Books) -> None:
        session = self.pick(books, _awaits_cdr)
        if session is None:
            return
        tree = self.new_cdr(session, absurd=self.rng.random() < _ABSURD)
        by = session["cpo_id" if self.rng.random() < _BY_OPERATOR else "demand_partner_id"]
        await self.do(
            f"complete {session['session_ref']} {tree['total_energy']}kWh by {by}",
            self.complete(session, tree, by=by),
        )

    async def cdr_by_ocpi(self, books: Books) -> None:
        session = self.pick(books, _awaits_cdr)
        if session is not None:
            tree = self.new_cdr(session, absurd=self.rng.random() < _ABSURD)
            await self.do(
                f"push {session['session_ref']} {tree['total_energy']}kWh", self.push(session, tree)
            )

    async def update(self, books: Books) -> None:
        """A CPO reports how far a running session is."""
        session = self.pick(books, lambda row: row["state"] == "active")
        if session is not None:
            kwh = self.rng.choice((0, 3, 8, 14, 30))
            self.note(f"update {session['session_ref']} {kwh}kWh")
            self.system.updates.reported[session["id"]] = (kwh, self.system.hands.at)
            self.may_cost(session, kwh)

    async def another_cdr(self, books: Books) -> None:
        """The same CDR again, or another one for a session that has ended."""
        session = self.pick(books, lambda row: row["id"] in self.cdrs)
        if session is None:
            return
        again = self.rng.random() < 0.6
        tree = self.rng.choice(self.cdrs[session["id"]]) if again else self.new_cdr(session)
        if tree.get("credit"):
            return
        sent = (
            self.complete(session, tree, by=session["demand_partner_id"])
            if self.rng.random() < 0.5
            else self.push(session, tree)
        )
        await self.do(f"another_cdr {session['session_ref']} {tree['total_energy']}kWh", sent)

    async def correction(self, books: Books) -> None:
        """The CPO takes its CDR back and sends another."""
        session = self.pick(books, lambda row: row["cdr_id"] is not None)
        if session is None:
            return
        place = PLACES[session["evse_id"]]
        known = [tree for tree in self.cdrs[session["id"]] if tree["id"] == session["cdr_id"]]
        if not known:
            return
        credit = cdr_tree(
            place,
            cdr_id=f"{session['cdr_id']}-CR",
            session_ref=session["session_ref"],
            kwh=known[0]["total_energy"],
            ended_at=self.system.hands.at,
            credit_of=session["cdr_id"],
        )
        fresh = self.new_cdr(session)

        alone = self.rng.random() < _CREDIT_ALONE

        async def both() -> None:
            await self.push(session, known[0])
            await self.push(session, credit)
            if not alone:
                await self.push(session, fresh)

        await self.do(f"correct {session['session_ref']} to {fresh['total_energy']}kWh", both())

    async def release(self, books: Books) -> None:
        row = self.pick_authorization(books, {"authorized", "requires_action"})
        if row is not None:
            await self.do(
                f"release {row['session_id'].hex[-6:]}",
                self.system.payments.release(party_id=row["party_id"], authorization_id=row["id"]),
            )

    async def increment(self, books: Books) -> None:
        row = self.pick_authorization(books, {"authorized"})
        if row is not None:
            await self.do(
                f"increment {row['session_id'].hex[-6:]}",
                self.system.payments.increment(
                    party_id=row["party_id"],
                    authorization_id=row["id"],
                    amount_minor=row["hold_minor"] + 500,
                    expected_version=None,
                ),
            )

    async def refund(self, books: Books) -> None:
        captured = [row for row in books.captures.values() if row["state"] == "succeeded"]
        if not captured:
            return
        capture = self.rng.choice(captured)
        amount = (
            None
            if self.rng.random() < 0.3
            else max(1, capture["amount_minor"] // self.rng.choice((2, 3, 10)))
        )
        request = RefundRequest(
            refund_id=new_id(),
            session_id=capture["session_id"],
            amount_minor=amount,
            reason=RefundReason.REQUESTED_BY_DRIVER,
        )
        await self.do(
            f"refund {capture['session_id'].hex[-6:]} {amount}",
            self.system.payments.refunds.refund(request, party_id=None),
        )

    async def cardholder_acts(self, books: Books) -> None:
        sent = [intent for intent in books.intents if intent["status"] == "requires_action"]
        if sent:
            intent = self.rng.choice(sent)
            outcome = self.rng.choice(("succeed", "succeed", "fail"))
            self.note(f"cardholder {outcome}s {intent['id'][-6:]}")
            self.system.control("POST", f"payment_intents/{intent['id']}/authenticate", {"outcome": outcome})

    async def dispute(self, books: Books) -> None:
        captured = [
            intent
            for intent in books.intents
            if intent["status"] == "succeeded"
            and intent["latest_charge"]
            and intent["id"] not in self.checks.by_hand
        ]
        charges = {charge["id"]: charge for charge in self.system.objects("charge")}
        open_to = [
            intent["latest_charge"] for intent in captured if not charges[intent["latest_charge"]]["disputed"]
        ]
        if open_to:
            charge = self.rng.choice(open_to)
            inquiry = self.rng.random() < 0.3
            self.note(f"{'inquiry' if inquiry else 'dispute'} {charge[-6:]}")
            self.system.control(
                "POST", f"charges/{charge}/dispute", {"reason": "fraudulent", "inquiry": inquiry}
            )

    async def capture_by_hand(self, books: Books) -> None:
        """Somebody at the PSP's dashboard captures a hold of ours."""
        methods = {row["psp_payment"]: row["payment_method"] for row in books.authorizations.values()}
        held = [
            intent
            for intent in books.intents
            if intent["status"] == "requires_capture"
            and not (methods.get(intent["id"]) or _UNSETTLED[0]).startswith(_UNSETTLED)
        ]
        if held:
            intent = self.rng.choice(held)
            amount = intent["amount"] if self.rng.random() < 0.5 else max(intent["amount"] // 3, 50)
            self.note(f"captured_by_hand {intent['id'][-6:]} {amount}")
            self.checks.by_hand.add(intent["id"])
            self.system.control("POST", f"payment_intents/{intent['id']}/capture", {"amount": amount})

    async def decide_charge(self, _books: Books) -> None:
        """A person decides about money at the PSP that is in no book."""
        waiting = await self.system.pool.fetch(
            "SELECT psp_payment FROM gateway.unbooked_charge WHERE state = 'open' ORDER BY psp_payment"
        )
        if waiting:
            await self.decide_about(self.rng.choice(waiting)["psp_payment"], refund=self.rng.random() < 0.5)

    async def decide_about(self, psp_payment: str, *, refund: bool) -> None:
        """Adopt the charge, or refund it; what does not fit is rejected."""
        action = ChargeAction.REFUND if refund else ChargeAction.ADOPT
        hands = self.system.hands
        try:
            async with transaction(self.system.pool) as connection:
                await unbooked_charges.decide(
                    connection, psp_payment, action, by="anna", now=hands.now(), wall_now=hands.wall_now()
                )
            self.note(f"decide_{action} {psp_payment[-6:]}")
        except PaymentConflictError as error:
            self.note(f"rejected decision {action}: {error}")

    async def setup(self, _books: Books) -> None:
        """A driver of the super app saves a card; its back end repeats itself."""
        setup_id, customer_id = self.drivers.choose_setup()
        await self.do(f"setup {setup_id.hex[-6:]}", self.drivers.open_setup(setup_id, customer_id))

    async def driver_acts(self, _books: Books) -> None:
        """A driver enters a card at the PSP, or comes back from the bank; some never do."""
        done = await self.drivers.act()
        if done is not None:
            self.note(done)

    async def cancel_setup(self, _books: Books) -> None:
        if self.drivers.setups:
            await self.do("cancel_setup", self.drivers.cancel_setup())

    async def remove_method(self, _books: Books) -> None:
        await self.drivers.read_saved()
        if self.drivers.saved:
            method = self.rng.choice(self.drivers.saved)[1]
            await self.do(f"remove_method {method[-6:]}", self.drivers.remove_method(method))

    async def close_dispute(self, _books: Books) -> None:
        disputes = self.system.objects("dispute")
        current = [one for one in disputes if one["status"].endswith("needs_response")]
        lost = [one for one in disputes if one["status"] == "lost"]
        if lost and self.rng.random() < 0.3:
            one = self.rng.choice(lost)
            self.note(f"appeal {one['id'][-6:]}")
            self.system.control("POST", f"disputes/{one['id']}/appeal", {})
        elif current:
            outcome = self.rng.choice(("won", "lost"))
            one = self.rng.choice(current)
            if one["status"].startswith("warning") and self.rng.random() < 0.6:
                verb = self.rng.choice(("escalate", "prevent"))
                self.note(f"dispute_{verb} {one['id'][-6:]}")
                self.system.control("POST", f"disputes/{one['id']}/{verb}", {})
                return
            self.note(f"dispute_closed {outcome} {one['id'][-6:]}")
            self.system.control("POST", f"disputes/{one['id']}/close", {"outcome": outcome})

    async def fail_refund(self, _books: Books) -> None:
        made = [one for one in self.system.objects("refund") if one["status"] == "succeeded"]
        if made:
            one = self.rng.choice(made)
            self.note(f"refund_fails {one['id'][-6:]}")
            self.system.control("POST", f"refunds/{one['id']}/fail")

    async def account_changes(self, _books: Books) -> None:
        """The PSP restricts a party's account, or has learnt what it wanted to know."""
        accounts = self.system.objects("account")
        self.set_account(self.rng.choice(accounts), payable=self.rng.random() < 0.4)

    def set_account(self, account: dict[str, Any], *, payable: bool) -> None:
        self.note(f"account_{'completed' if payable else 'restricted'} {account['id'][-6:]}")
        if payable:
            self.system.control("POST", f"accounts/{account['id']}/complete", {})
            return
        reason = self.rng.choice(("requirements.past_due", "under_review", "rejected.other"))
        self.system.control("POST", f"accounts/{account['id']}/restrict", {"disabled_reason": reason})

    async def post(self, _books: Books) -> None:
        """Some webhooks arrive: in any order, twice, never."""
        self.mail += self.system.engine.pop_webhooks()
        for _ in range(min(len(self.mail), self.rng.randrange(1, 6))):
            letter = self.mail.pop(self.rng.randrange(len(self.mail)))
            fate = self.rng.random()
            if fate < 0.15:
                self.note(f"webhook_lost {letter.event_id[-6:]}")
                continue
            for _ in range(2 if fate < 0.3 else 1):
                await self.deliver(letter)

    async def deliver(self, letter: SignedWebhook) -> None:
        self.note(f"webhook {letter.event_id[-6:]}")
        await self.system.payments.receive_psp_webhook(
            body=letter.body, signature=letter.headers["Stripe-Signature"]
        )

    async def job(self, _books: Books) -> None:
        name = self.rng.choice(sorted(self.system.jobs))
        job = self.system.jobs[name]
        if isinstance(job, ShardJob):
            worker = self.worker()
            await self.do(f"job {name} of {worker}", self.workers.act(worker, job))
            return
        await self.do(f"job {name}", job.run_once())

    def worker(self) -> str:
        return f"worker {self.rng.randrange(MOST_WORKERS)}"

    async def worker_renews(self, _books: Books) -> None:
        worker = self.worker()
        self.note(f"renews {worker}")
        await self.workers.renew(worker)

    async def worker_looks(self, _books: Books) -> None:
        """What it saw it does later: meanwhile its shards may be another's."""
        worker = self.worker()
        self.note(f"looks {worker}")
        await self.workers.look(worker)

    async def worker_ends(self, _books: Books) -> None:
        worker = self.worker()
        if self.rng.random() < 0.5:
            self.note(f"dies {worker}")
            self.workers.die(worker)
        else:
            self.note(f"stops {worker}")
            await self.workers.stop(worker)

    async def time_passes(self, _books: Books) -> None:
        by = self.rng.choice(_JUMPS)
        if by > timedelta(seconds=10):
            await self.time_out()
        self.note(f"time {by}")
        self.system.hands.advance(by)
        self.system.set_psp_clock()

    async def psp_goes_down(self, _books: Books) -> None:
        self.note("psp_down for an hour")
        self.psp_down_until = self.system.hands.at + timedelta(hours=1)

    # What it takes

    async def time_out(self) -> None:
        """No request outlives its timeout: each is lost, before or after its effect."""
        while self.turns.waiting:
            operation = self.turns.waiting[0]
            verdict = (
                Verdict.LOST_BEFORE
                if self.down
                else self.rng.choice((Verdict.LOST_BEFORE, Verdict.LOST_AFTER))
            )
            self.note(f"timed_out {operation.name}")
            await self.turns.go_on(operation, verdict)

    def pick(self, books: Books, wanted: Callable[[Any], bool]) -> Any:
        fitting = [row for row in books.sessions.values() if wanted(row)]
        return self.rng.choice(fitting) if fitting else None

    def pick_authorization(self, books: Books, states: set[str]) -> Any:
        fitting = [row for row in books.authorizations.values() if row["state"] in states]
        return self.rng.choice(fitting) if fitting else None

    def new_cdr(self, session: Any, *, absurd: bool = False) -> dict[str, Any]:
        """A CDR; one in watt-hours where `absurd`, which nobody is ever charged for."""
        place = PLACES[session["evse_id"]]
        kwh = self.rng.choice((5_000, 60_000)) if absurd else self.rng.choice((0, 5, 10, 15, 20, 23, 41, 60))
        known = self.cdrs.setdefault(session["id"], [])
        tree = cdr_tree(
            place,
            cdr_id=f"C-{session['session_ref']}-{len(known)}",
            session_ref=session["session_ref"],
            kwh=kwh,
            ended_at=self.system.hands.at,
        )
        known.append(tree)
        if not absurd:
            self.may_cost(session, kwh)
        return tree

    def may_cost(self, session: Any, kwh: int) -> None:
        most = self.checks.most_minor
        price = PLACES[session["evse_id"]].price_minor(kwh)
        most[session["id"]] = max(most.get(session["id"], 0), price)

    async def complete(self, session: Any, tree: dict[str, Any], *, by: str) -> None:
        await self.system.payments.complete(
            party_id=by,
            session_id=session["id"],
            cdr_raw=json.dumps(tree).encode(),
            cdr_version="2.2.1",
        )

    async def push(self, session: Any, tree: dict[str, Any]) -> None:
        raw = json.dumps(tree).encode()
        cdr = NewCdr(
            cpo_id=PLACES[session["evse_id"]].cpo_id,
            cdr_id=tree["id"],
            version=OcpiVersion.V2_2_1,
            raw=raw,
            fingerprint=hashlib.sha256(raw).digest(),
            session_ref=tree["session_id"],
            authorization_reference=format_id("ses", session["id"]),
            currency=tree["currency"],
            ended_at=datetime.fromisoformat(tree["end_date_time"]),
            credit=bool(tree.get("credit")),
            credit_reference_id=tree.get("credit_reference_id"),
            last_updated=datetime.fromisoformat(tree["last_updated"]),
        )
        hands = self.system.hands
        async with transaction(self.system.pool) as connection:
            await cdr_repository.add_cdr(connection, cdr, now=hands.now(), wall_now=hands.wall_now())

    def capture_again(self, books: Books) -> None:
        """What must be noticed: the PSP takes the money of a captured session once more."""
        booked = {row["psp_charge"] for row in books.captures.values() if row["state"] == "succeeded"}
        captured = next(
            intent
            for intent in books.intents
            if "authorization" in intent["metadata"] and intent["latest_charge"] in booked
        )
        self.system.charge_again(captured)

    def reap(self) -> None:
        """What ended: a rejection is an answer, the death of a process is played, anything else is a bug."""
        for operation in self.turns.reap():
            assert operation.task is not None
            if operation.task.cancelled():
                continue
            error = operation.task.exception()
            if isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            if isinstance(error, PaymentError):
                self.note(f"rejected {operation.name}: {type(error).__name__}")
            elif error is not None:
                raise BrokenRuleError(f"{operation.name} failed: {error!r}") from error

    # The calm afterwards

    def psp_acted(self) -> bool:
        """Whether something happened at the PSP that we did not ask for, of which we may not know yet."""
        objects = self.system.objects
        refunds = {one["status"] for one in objects("refund")}
        return bool(self.checks.by_hand or objects("dispute") or refunds - {"succeeded"})

    async def audit_midway(self) -> None:
        """Audit while operations are suspended in their requests; its own requests are not disturbed."""
        wire, disturbed = self.system.wire, self.system.wire.verdict
        wire.verdict = deliver
        try:
            await self.checks.midway(self.system)
        finally:
            wire.verdict = disturbed

    async def calm(self) -> None:
        """No more faults: what is under way ends, and every deadline passes."""
        await self.time_out()
        self.psp_down_until = None
        self.turns.stop = False
        self.note("calm")
        await self.workers.stop_all()
        for account in self.system.objects("account"):
            if account["capabilities"]["transfers"] != "active" and self.rng.random() < 0.5:
                self.set_account(account, payable=True)
        self.checks.calm_since = self.checks.calm_since or self.system.hands.at
        until = self.system.hands.at + QUIET_AFTER
        for _ in range(_MOST_ROUNDS):
            await self.work()
            due = await self.next_due()
            if due is None or due > until:
                break
            self.system.hands.at = max(due, self.system.hands.at + timedelta(seconds=1))
            self.system.set_psp_clock()
        await self.work()
        # What became due at this very moment waits for the next round: a minute for holds, less for payouts.
        self.system.hands.at += timedelta(minutes=2)
        self.system.set_psp_clock()
        await self.work()

    async def late_cdrs(self, books: Books) -> None:
        """After all, CDRs come for sessions that no CDR has ended."""
        late = [row for row in books.sessions.values() if _yields_to_operator(row)]
        for session in late:
            if self.rng.random() < 0.7:
                tree = self.new_cdr(session, absurd=self.rng.random() < _ABSURD)
                self.note(f"late_cdr {session['session_ref']} {tree['total_energy']}kWh")
                await self.push(session, tree)
        if late:
            await self.calm()

    async def decisions(self) -> None:
        """A person looks at what a check kept: what can't have been delivered is rejected, the hold ends.

        Where the payer stated something else, the person takes either word, or none.
        """
        rows = await self.system.pool.fetch(
            "SELECT id, reasons, lower_minor FROM gateway.stated_usage WHERE state = 'exception' ORDER BY id"
        )
        for row in rows:
            action = stated_usage.UsageAction.RELEASE
            if row["reasons"] == ["usage_differs"]:
                action = self.rng.choice(_DECISIONS if row["lower_minor"] is not None else _DECISIONS[::2])
            self.note(f"decide {','.join(row['reasons'])} {action}")
            hands = self.system.hands
            async with transaction(self.system.pool) as connection:
                decided = await stated_usage.decide(
                    connection,
                    row["id"],
                    stated_usage.UsageDecision(action=action),
                    by="anna",
                    now=hands.now(),
                    wall_now=hands.wall_now(),
                )
            if not decided:
                raise BrokenRuleError("usage that waits could not be decided")
        if rows:
            await self.calm()
        await self.decide_all_charges()

    async def decide_all_charges(self) -> None:
        """Whatever the PSP has taken and no book has is adopted where a session owes it, else refunded."""
        for _ in range(_MOST_DECISIONS):
            rows = await self.system.pool.fetch(_UNDECIDED)
            for row in rows:
                await self.decide_about(row["psp_payment"], refund=not row["owed"])
            if not rows:
                return
            await self.calm()

    async def work(self) -> None:
        """Every webhook that was not lost, every job, until nothing is left to do now."""
        for _ in range(20):
            self.mail += self.system.engine.pop_webhooks()
            for letter in self.mail:
                await self.deliver(letter)
            self.mail.clear()
            done = 0
            due = await self.due_jobs()
            for name, job in self.system.jobs.items():
                if name not in due:
                    continue
                self.note(f"calm_job {name}")
                try:
                    done += await job.run_once()
                except Exception as error:
                    raise BrokenRuleError(f"job {name} failed: {error!r}") from error
            if not done and not self.mail:
                return

    async def due_jobs(self) -> set[str]:
        """Shards that would find something to do; those that look by the clock are always among them."""
        async with self.system.pool.acquire() as connection:
            rows = await connection.fetch(_DUE, self.system.hands.at)
        due = {row["job"] for row in rows} | {
            "hold_monitor",
            "psp_event_poll",
            "credit_cdrs",
            "connected_accounts",
        }
        today = self.system.hands.at.date()
        if self.paid_out_on != today or not due.isdisjoint({"book_correction", "clear_session"}):
            self.paid_out_on = today
            due.add("disbursement")
        return due

    async def next_due(self) -> datetime | None:
        """When something falls due next, by what is stored here and at the PSP."""
        now = self.system.hands.at
        async with self.system.pool.acquire() as connection:
            moments = await connection.fetch(_NEXT_DUE, now, _RARE_LOOKS)
        waiting = [row["at"] for row in moments if row["at"] is not None]
        late = [max(at, now + timedelta(seconds=1)) for at in waiting]
        return min(late) if late else None


_UNDECIDED: Final = """
SELECT u.psp_payment, u.reason = 'captured_by_hand' AND s.state = 'exception' AND s.price_minor > 0
       AND u.psp_refund IS NULL AND u.refunded_minor = 0 AND u.detail = ''
       AND NOT EXISTS (SELECT 1 FROM gateway.payment_authorization AS a
                       WHERE a.session_id = s.id AND a.state NOT IN ('voided', 'failed')) AS owed
FROM gateway.unbooked_charge AS u LEFT JOIN gateway.session AS s ON s.shard = u.shard AND s.id = u.session_id
WHERE u.state IN ('open', 'adopting')
  AND NOT EXISTS (
      SELECT 1 FROM gateway.capture AS c WHERE c.state = 'succeeded' AND c.psp_charge = u.psp_charge)
ORDER BY u.psp_payment
"""
_DUE: Final = """
SELECT DISTINCT kind AS job FROM gateway.task
WHERE exception_at IS NULL AND run_at <= $1 AND (leased_until IS NULL OR leased_until <= $1)
UNION SELECT 'outcome_resolution' FROM gateway.psp_request WHERE state IN ('intended', 'unknown') AND
next_attempt_at <=
$1 UNION SELECT 'disbursement' FROM clearing.disbursement WHERE state NOT IN ('paid', 'failed')
"""
_NEXT_DUE: Final = """
SELECT min(next_attempt_at) AS at FROM gateway.psp_request WHERE state IN ('intended', 'unknown')
UNION ALL SELECT min(greatest(run_at, leased_until)) FROM gateway.task WHERE exception_at IS NULL
UNION ALL SELECT min(e.at) FROM (
    SELECT least(a.capture_before, s.created_at + interval '30 days') + interval '2 minutes' AS at
    FROM gateway.payment_authorization AS a
    JOIN gateway.session AS s ON s.shard = a.shard AND s.id = a.session_id
    WHERE a.state = 'authorized') AS e WHERE e.at > $1::timestamptz
-- A hold that may be helped is checked every hour. What the PSP has ended or taken waits for a person or for
-- the deadline of its CDR, and a challenge for its own deadline below: looks in between find nothing new.
UNION ALL SELECT min(CASE WHEN state = 'authorized' AND capture_before > $1::timestamptz THEN next_check_at
                          ELSE greatest(next_check_at, $1::timestamptz + $2::interval) END)
    FROM gateway.payment_authorization
    WHERE state IN ('authorized', 'requires_action') AND next_check_at > $1::timestamptz
UNION ALL SELECT min(s.created_at + make_interval(days => p.after_days)) + interval '2 minutes'
    FROM gateway.session AS s JOIN gateway.missing_cdr_policy AS p ON p.party_id = 'platform'
    WHERE s.state = 'active' AND s.created_at + make_interval(days => p.after_days) > $1::timestamptz
UNION ALL SELECT min(a.capture_before) - interval '119 minutes'
    FROM gateway.payment_authorization AS a
    JOIN gateway.provisional_usage AS u ON u.shard = a.shard AND u.session_id = a.session_id
    WHERE a.state = 'authorized' AND a.capture_before - interval '119 minutes' > $1::timestamptz
UNION ALL SELECT min(received_at) + interval '24 hours 2 minutes' FROM gateway.ocpi_cdr
    WHERE credit_state = 'pending' AND received_at + interval '24 hours' > $1::timestamptz
UNION ALL SELECT min(updated_at) + interval '61 minutes' FROM gateway.payment_authorization
    WHERE state = 'requires_action' AND updated_at + interval '61 minutes' > $1::timestamptz
UNION ALL SELECT min($1::timestamptz + interval '1 day')
    FROM clearing.payable AS p LEFT JOIN clearing.disbursement AS d ON d.id = p.disbursement_id
    WHERE d.state IS DISTINCT FROM 'paid' AND p.due_date >= ($1::timestamptz - interval '1 day')::date
"""


async def play(ground: Ground, seed: int, *, steps: int = STEPS, sabotage: bool = False) -> Played:
    """Play one seed; a broken rule is part of the answer, not an error.

    `sabotage` captures a session a second time behind the product's back, as a bug would.
    """
    with ground.seeded(seed) as (rng, hands):
        converts = seed % _SEEDS_PER_CONVERTING_ACCOUNT == 0
        system = await ground.open(rng, hands, settles_in=("eur",) if converts else ())
        game = Game(system=system, seed=seed, foulness=rng.choice((0.0, 0.15, 0.3, 0.5)))
        system.wire.verdict, system.wire.answered = game.turns.verdict, game.turns.answered
        broken = None
        done = 0
        try:
            for _ in range(steps):
                done += 1
                books = await game.checks.read(system)
                game.checks.step(books)
                await game.step(books)
                game.reap()
                if done == steps // 2 and not game.psp_acted():
                    await game.audit_midway()
            await game.calm()
            game.reap()
            await game.decisions()
            await game.late_cdrs(await game.checks.read(system))
            await game.decisions()
            game.reap()
            if sabotage:
                game.capture_again(await game.checks.read(system))
            game.checks.step(await game.checks.read(system))
            differences = await system.reconcile()
            if differences:
                raise BrokenRuleError(f"{differences} differences between the books and the PSP")
            books = await game.checks.read(system)
            game.checks.step(books)
            await game.checks.end(system, books)
            game.note(f"ended {books.digest()}")
        except BrokenRuleError as error:
            broken = str(error)
        finally:
            for operation in game.turns.under_way:
                if operation.task is not None:
                    operation.task.cancel()
            await asyncio.gather(
                *[operation.task for operation in game.turns.under_way if operation.task],
                return_exceptions=True,
            )
            system.engine.close()
        return Played(
            seed=seed,
            steps=done,
            digest=hashlib.sha256("\n".join(game.history).encode()).hexdigest()[:16],
            counts=game.counts,
            broken=broken,
            history=tuple(game.history),
        )


def _awaits_cdr(row: Any) -> bool:
    """A session that runs, or was captured at its last known cost: its CDR may come."""
    return bool(row["state"] == "active" or row["cdr_id"] == last_known_cdr_id(row["id"]))


def _yields_to_operator(row: Any) -> bool:
    """A session that an update or the payer's statement has ended."""
    return bool(row["cdr_id"] == last_known_cdr_id(row["id"]) or row["stated_by"] == "payer")


def _shape(path: str) -> str:
    return "/".join(part if len(part) < 16 else part[:3] for part in path.split("/")[2:])


def _paid_by(order: AuthorizationRequest) -> str:
    if isinstance(order.payment, PartnerAccount):
        return f"{order.method} account"
    return f"{order.method} {'mandate' if order.payment.customer else order.payment.payment_method}"
