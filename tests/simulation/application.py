"""The real services over an in-process PSP.

What gateway/application.py wires, with the simulation's clock and wire.

Owns: opening and resetting. Must not know: what is played.
"""

import random
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, cast
from urllib.parse import urlencode

import msgspec

from clearing.cdr_checks.limits import LimitName
from clearing.services import ClearingServices, build_clearing
from gateway import application
from gateway.config import load_settings
from gateway.database import Pool, is_distributed, transaction
from gateway.ids import ids_from, new_id
from gateway.jobs.connected_accounts import ConnectedAccountJob
from gateway.jobs.disbursements import DisbursementJob
from gateway.jobs.job import Job
from gateway.jobs.reconciliation import ReconciliationJob
from gateway.partners import party_repository as party_rows
from gateway.partners.party_repository import PartyRecord
from gateway.payments.cdr_limits import set_limits
from gateway.payments.funding import FundingService
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.payments.records import MissingCdrAction, MissingCdrPolicy
from gateway.payments.service import PaymentService, build_payments
from pnc.revocation_checker import RevocationChecker
from pnc.service import PlugAndChargeService
from sandbox.stripe.access import PspRequest
from sandbox.stripe.engine import PspEngine
from sandbox.stripe.settings import PspSettings
from tests.simulation.in_process import API_KEY, WEBHOOK_SECRET, Wire, stripe_over
from tests.simulation.market import (
    LONG_AGO,
    PARKING,
    PLACES,
    PLATFORM,
    SUPERAPP,
    Tariffs,
    Updates,
    agreements,
    parties,
)
from tests.simulation.seeded import START, Hands, Ids

_LEASES: Final = """
INSERT INTO gateway.shard_lease (shard, until, fence)
SELECT shard, 'epoch', 1 FROM generate_series(0, 63) AS shard"""
_KEPT: Final = (
    "clearing.party",
    "clearing.party_vat_evidence",
    "clearing.agreement",
    "clearing.fx_rate",
    "clearing.reference_epoch",
    "gateway.party",
)
_PLAYED: Final = (
    "complete_session",
    "capture_session",
    "charge_residual",
    "handle_psp_event",
    "outcome_resolution",
    "clear_session",
    "credit_cdrs",
    "hold_monitor",
    "psp_event_poll",
    "book_correction",
    "disbursement",
    "connected_accounts",
    "settle_unbooked_charge",
)
FUNDED_MINOR: Final = 20_000
_CONNECTED: Final = 0.5  # of the CPOs: what the payer states at one of these is provisional
_CAPTURES_LAST_KNOWN: Final = 0.5  # of the seeds
_WITH_CARD_FEATURES: Final = 0.5  # of the seeds: the account may raise holds and capture above them
_FLOAT_MINOR: Final = 1_000_000


@dataclass(slots=True, kw_only=True)
class Simulated:
    """One system for one seed."""

    pool: Pool
    hands: Hands
    rng: random.Random
    engine: PspEngine
    wire: Wire
    psp: StripePsp
    payments: PaymentService
    clearing: ClearingServices
    jobs: Mapping[str, Job]
    customers: Mapping[str, tuple[str, str]]
    updates: Updates

    def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the PSP's control API."""
        return _json(self.engine, method, f"/_sandbox/{path}", body)

    def set_psp_clock(self) -> None:
        """The PSP's business clock follows the simulation's."""
        self.control("POST", "clock", {"now": int(self.hands.at.timestamp()), "frozen": True})

    async def reconcile(self) -> int:
        """The books compared with the PSP, days after the last movement; how many differences are left."""
        self.hands.at += timedelta(days=10)
        self.set_psp_clock()
        job = ReconciliationJob(
            pool=self.pool,
            clock=self.hands,
            source=self.psp,
            clearing=self.clearing,
            payments=self.payments,
        )
        return (await job.reconcile()).differences

    def charge_again(self, intent: Mapping[str, Any]) -> None:
        """A second payment of the same session at the PSP, past all that we record."""
        fields = {f"metadata[{name}]": value for name, value in intent["metadata"].items()}
        fields |= {"amount": str(intent["amount_received"]), "currency": intent["currency"]}
        fields |= {"confirm": "true", "payment_method": "pm_card_visa", "off_session": "true"}
        _form(self.engine, "/v1/payment_intents", fields)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """The PSP's own committed objects, oldest first, with all that has fallen due there done."""
        self.engine.run_timers()
        return list(self.engine.state.records.scan(kind, "acct_platform", oldest_first=True))


def _stepwise(job: Job) -> Job:
    """A job that sends the PSP one request at a time: an operation stops at one request."""
    if isinstance(job, DisbursementJob):
        job.at_once = 1
    if isinstance(job, DisbursementJob | ConnectedAccountJob) and job.accounts is not None:
        job.accounts = replace(job.accounts, at_once=1)
    return job


class Ground:
    """A migrated database made ready once, and swept before each seed."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clearing = build_clearing()
        self._swept: list[str] = []
        self._accounts: dict[str, str] = {}

    async def prepare(self) -> None:
        """Reference data, parties and agreements; statistics don't change, so that plans repeat."""
        async with transaction(self.pool) as connection:
            rows = await connection.fetch(
                "SELECT schemaname || '.' || tablename AS name FROM pg_tables "
                "WHERE schemaname IN ('gateway', 'clearing', 'pnc') ORDER BY 1"
            )
            names = [row["name"] for row in rows if "migration" not in row["name"]]
            for name in names:
                await connection.execute(f"ALTER TABLE {name} SET (autovacuum_enabled = false)")
            self._swept = [name for name in names if name not in _KEPT]
            self._accounts = _accounts(_engine())
            await self.clearing.reference_data.import_bundled_rates(connection, now=START)
            await party_rows.ensure_platform(connection, now=START)
            for party in parties(self._accounts):
                await self.clearing.reference_data.register_party(connection, party, now=START)
                if party.id != "platform":
                    row = PartyRecord(id=party.id, kind=party.kind.value, created_at=LONG_AGO)
                    await party_rows.add_party(connection, row)
            for agreement in agreements():
                await self.clearing.reference_data.put_agreement(connection, agreement, now=START)

    @contextmanager
    def seeded(self, seed: int) -> Any:
        """Ids and rng of one seed."""
        rng, hands = random.Random(seed), Hands()
        with ids_from(Ids(hands, rng)):
            yield rng, hands

    async def open(
        self, rng: random.Random, hands: Hands, *, settles_in: tuple[str, ...] = (), topup_days: int = 0
    ) -> Simulated:
        """A swept system with funded accounts, a float at the PSP, and two stored mandates.

        With `settles_in` the PSP converts every other currency into the first of them.
        """
        await self._sweep()
        engine = _engine(settles_in, card_features=rng.random() < _WITH_CARD_FEATURES, topup_days=topup_days)
        _accounts(engine)
        customers = {name: _customer(engine, name) for name in ("ann", "ben")}
        wire = Wire(engine=engine)
        psp = stripe_over(wire, monotonic=hands.monotonic)
        settings = load_settings(
            {
                "NETWORKCORE_DATABASE_URL": "postgresql://simulated@localhost/simulated",
                "NETWORKCORE_PSP_API_KEY": API_KEY,
                "NETWORKCORE_PSP_WEBHOOK_SECRET": WEBHOOK_SECRET,
                # One at a time: the rng decide what runs together.
                "NETWORKCORE_WORKER_PARALLEL_SHARDS": "1",
            }
        )
        cpos = [place.cpo_id for place in PLACES.values()]
        updates = Updates(connected=frozenset(cpo for cpo in cpos if rng.random() < _CONNECTED))
        payments = build_payments(
            pool=self.pool,
            psp=psp,
            tariffs=Tariffs(),
            clock=hands,
            policy=PaymentPolicy(),
            updates=updates,
        )
        if rng.random() < _CAPTURES_LAST_KNOWN:
            last_known = MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=2)
            await payments.missing_cdrs.set_policy(last_known, party_id="platform")
        system = application.Application(
            settings=settings,
            pool=self.pool,
            clock=hands,
            psp=psp,
            outbound=cast("Any", None),
            clearing=self.clearing,
            payments=payments,
            plug_and_charge=PlugAndChargeService(
                revocation_checker=RevocationChecker(fetcher=cast("Any", None))
            ),
        )
        # Each CDR is of the hour before it is sent, however short or long ago its session was authorized.
        limits = {LimitName.CLOCK_SLACK_S: Decimal(3700), LimitName.LATEST_START_S: Decimal(10_000_000)}
        async with transaction(self.pool) as connection:
            await set_limits(
                connection, limits, party_id=PLATFORM, valid_from=hands.at, by="simulation", now=hands.at
            )
        await self._fund(FundingService(pool=self.pool, clock=hands, psp=psp))
        return Simulated(
            pool=self.pool,
            hands=hands,
            rng=rng,
            engine=engine,
            wire=wire,
            psp=psp,
            payments=payments,
            clearing=self.clearing,
            jobs={job.name: _stepwise(job) for job in application.jobs(system) if job.name in _PLAYED},
            customers=customers,
            updates=updates,
        )

    async def _sweep(self) -> None:
        """Empty every table that has rows; those that refer to them go along."""
        question = ", ".join(
            f"EXISTS (SELECT 1 FROM {name}) AS t{at}"  # noqa: S608 - names from the catalog
            for at, name in enumerate(self._swept)
        )
        async with self.pool.acquire() as connection:
            row = await connection.fetchrow(f"SELECT {question}")
            assert row is not None
            full = [name for at, name in enumerate(self._swept) if row[f"t{at}"]]
            if full:
                await connection.execute(f"TRUNCATE {', '.join(full)} CASCADE")
                if is_distributed(self.pool):  # there each shard has its lease from the first day on
                    await connection.execute(_LEASES)

    async def _fund(self, funding: FundingService) -> None:
        for place in PLACES.values():
            await funding.top_up_treasury(
                currency=place.currency,
                amount_minor=_FLOAT_MINOR,
                reference=place.currency,
            )
            await funding.fund_partner(
                funding_id=new_id(),
                party_id=SUPERAPP,
                currency=place.currency,
                amount_minor=FUNDED_MINOR,
                reference=f"first {place.currency}",
            )


def _engine(
    settles_in: tuple[str, ...] = (), *, card_features: bool = True, topup_days: int = 0
) -> PspEngine:
    return PspEngine(
        PspSettings(
            seed=1,  # the same for all: its ids repeat anyway, and the accounts' ids stay
            start_at=int(START.timestamp()),
            pull_webhooks=True,
            webhook_url="http://system.in-process/v1/psp/webhooks",
            webhook_secret=WEBHOOK_SECRET,
            card_features=card_features,
            settlement_currencies=settles_in,
            topup_days=topup_days,
        )
    )


def _accounts(engine: PspEngine) -> dict[str, str]:
    made = {}
    for name, country in (("DE-ABC", "DE"), ("CH-ALP", "CH"), (SUPERAPP, "DE"), (PARKING, "CH")):
        account = _form(engine, "/v1/accounts", {"type": "custom", "country": country})
        made[name] = str(account["id"])
    return made


def _customer(engine: PspEngine, name: str) -> tuple[str, str]:
    """A customer with a stored card: (customer, payment method)."""
    customer = _form(engine, "/v1/customers", {"name": name})
    path = "/v1/payment_methods/pm_card_visa/attach"
    return str(customer["id"]), str(_form(engine, path, {"customer": customer["id"]})["id"])


def _form(engine: PspEngine, path: str, fields: Mapping[str, str]) -> Any:
    request = PspRequest(
        method="POST",
        path=path,
        headers={"authorization": f"Bearer {API_KEY}"},
        body=urlencode(fields).encode(),
    )
    return _read(engine.handle(request))


def try_form(engine: PspEngine, path: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """As a client that may be refused: the object, or nothing of it."""
    request = PspRequest(
        method="POST",
        path=path,
        headers={"authorization": f"Bearer {API_KEY}"},
        body=urlencode(fields).encode(),
    )
    reply = engine.handle(request)
    answered: dict[str, Any] = msgspec.json.decode(reply.body)
    return answered if reply.status == 200 else {}


def _json(engine: PspEngine, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
    headers = {"content-type": "application/json"}
    raw = b"" if body is None else msgspec.json.encode(body)
    return _read(engine.handle(PspRequest(method=method, path=path, headers=headers, body=raw)))


def _read(reply: Any) -> Any:
    assert reply.status == 200, reply.body
    return msgspec.json.decode(reply.body)
