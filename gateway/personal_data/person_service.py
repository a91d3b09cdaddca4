"""A person's data: found by any of their names, exported, erased.

Owns: what leads from one row to the next, what prevents erasure, what the law keeps and until when, and that
an erasure is one transaction with its record. Must not know: SQL, HTTP, the command line. Sources:
Regulation (EU) 2016/679 art. 15, 17(1), 17(3)(b) and (e), 20.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.database import Connection
from gateway.ids import format_id, new_id, parse_id
from gateway.personal_data import person_repository as repository
from gateway.personal_data.person import (
    ErasureOutcome,
    ErasureReport,
    FoundPerson,
    KeptRows,
    Obstacle,
    PersonRows,
    Subject,
)
from gateway.personal_data.person_repository import ErasureRecord, KeptSales
from gateway.personal_data.rules import RetentionPolicy, country_of
from gateway.plug_and_charge.contract_payment import method_of, payment_reference
from pnc import personal_data_service as contracts
from pnc.contract import PaymentKind
from pnc.personal_data_service import DriverContracts

_ROUNDS: Final = 6  # a name leads to a row, that to another name: more than there are kinds of rows
_PREFIX: Final = "erased"
_ANSWERS_KEPT: Final = timedelta(hours=72)
_NOBODY: Final = DriverContracts(contracts=(), decisions=())


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonService:
    """The caller owns the transaction. `environment` names the contracts that are this system's."""

    policy: RetentionPolicy
    environment: str

    async def find(self, connection: Connection, subject: Subject) -> FoundPerson:
        """Every row that the name leads to. `subject.misfit()` is None."""
        rows = PersonRows(emaids=frozenset(subject.emaids), texts=frozenset(subject.texts))
        found = _NOBODY
        for _ in range(_ROUNDS):
            before = rows
            rows = _merged(rows, await repository.find_customers(connection, subject, rows))
            found = await self._contracts(connection, rows)
            rows = _merged(rows, _of_contracts(found))
            rows = _merged(rows, await repository.find_tokens(connection, subject, rows))
            rows = _merged(rows, await repository.find_sessions(connection, subject, rows))
            if rows == before:
                break
        return FoundPerson(rows=rows, contracts=found)

    async def report(self, connection: Connection, subject: Subject, *, now: datetime) -> ErasureReport:
        """What would be erased, what prevents it and what stays; nothing is changed."""
        return await self._report(connection, await self.find(connection, subject), now=now)

    async def erase(
        self, connection: Connection, subject: Subject, *, by: str, reason: str, now: datetime
    ) -> ErasureReport:
        """Erase the person, in the caller's transaction: all of it, or, where something prevents it, nothing.

        Repeated, it finds what arrived since, or nothing.
        """
        found = await self.find(connection, subject)
        await repository.lock(connection, found.rows)
        report = await self._report(connection, found, now=now)
        if report.obstacles or not report.found:
            return report
        erasure_id = new_id()
        pseudonym = format_id(_PREFIX, erasure_id)
        erased = await repository.erase(connection, found.rows, pseudonym=pseudonym)
        erased |= _counted(
            await contracts.erase(
                connection,
                found.contracts,
                environment=self.environment,
                emaids=sorted(found.rows.emaids),
            )
        )
        await repository.record(
            connection,
            ErasureRecord(
                id=erasure_id,
                pseudonym=pseudonym,
                erased_at=now,
                erased_by=by,
                reason=reason,
                erased=erased,
                kept=[kept_json(one) for one in report.kept],
            ),
        )
        return replace(report, outcome=ErasureOutcome.ERASED, pseudonym=pseudonym, found=erased)

    async def export(self, connection: Connection, subject: Subject) -> Mapping[str, Sequence[Any]]:
        """Every row of the person, by table, as JSON values; tables without one are left out."""
        found = await self.find(connection, subject)
        rows: dict[str, Sequence[Any]] = dict(await repository.export(connection, found.rows))
        rows |= await contracts.export(
            connection, found.contracts, environment=self.environment, emaids=sorted(found.rows.emaids)
        )
        return {table: rows[table] for table in sorted(rows) if rows[table]}

    async def _contracts(self, connection: Connection, rows: PersonRows) -> DriverContracts:
        customers = (*sorted(rows.psp_customers), None)
        paid_by = [
            payment_reference(payment_method=method, customer=customer)
            for method in sorted(rows.methods)
            for customer in customers
        ]
        if not rows.emaids and not paid_by:
            return _NOBODY
        return await contracts.find(
            connection,
            environment=self.environment,
            emaids=sorted(rows.emaids),
            payment_references=paid_by,
        )

    async def _report(self, connection: Connection, found: FoundPerson, *, now: datetime) -> ErasureReport:
        rows = await repository.count_rows(connection, found.rows)
        rows |= _counted(
            {"contract": len(found.contracts.contracts), "decision": len(found.contracts.decisions)}
        )
        obstacles = [
            *await repository.list_obstacles(connection, found.rows),
            *(
                Obstacle(subject=subject, reason=reason)
                for subject, reason in found.contracts.why_not_erased()
            ),
        ]
        kept = self._kept(await repository.list_kept(connection, found.rows), rows=rows, now=now)
        outcome = ErasureOutcome.NOTHING
        if rows:
            outcome = ErasureOutcome.REFUSED if obstacles else ErasureOutcome.FOUND
        return ErasureReport(
            outcome=outcome,
            pseudonym=None,
            found=rows,
            obstacles=obstacles,
            kept=kept,
            elsewhere=_elsewhere(found.rows, await repository.list_operators(connection, found.rows)),
            at=now,
        )

    def _kept(
        self, sales: Sequence[KeptSales], *, rows: Mapping[str, int], now: datetime
    ) -> Sequence[KeptRows]:
        kept: list[KeptRows] = []
        for one in sales:
            until = self.policy.kept_until(one.newest, one.tax_jurisdiction)
            law = f"the law of {country_of(one.tax_jurisdiction)} and of the platform's own books"
            if one.sessions:
                kept.append(KeptRows(rule="billing_record", rows=one.sessions, why=law, until=until))
            if one.captures:
                kept.append(KeptRows(rule="books", rows=one.captures, why=law, until=until))
        if rows:
            until = (now + _ANSWERS_KEPT).date()
            why = "answers to requests of the last 72 hours are kept for a repeat"
            kept.append(KeptRows(rule="idempotency_key", rows=0, why=why, until=until))
        return kept


def kept_json(one: KeptRows) -> dict[str, Any]:
    """What stays, as JSON-ready values."""
    until = None if one.until is None else one.until.isoformat()
    return {"rule": one.rule, "rows": one.rows, "why": one.why, "until": until}


def _elsewhere(rows: PersonRows, operators: Sequence[str]) -> Sequence[str]:
    """Who else has data of the person, and is to be asked: art. 17(2), 19."""
    others = [f"the PSP's customer {one}: delete it there" for one in sorted(rows.psp_customers)]
    return [*others, *(f"the CPO {one} has had its own record of the sessions" for one in operators)]


def _of_contracts(found: DriverContracts) -> PersonRows:
    """What the contracts lead to: the customers that pay and the authorizations of their sessions."""
    payers = [
        method_of(one.payment_reference).customer
        for one in found.contracts
        if one.payment_kind == PaymentKind.PSP_MANDATE
    ]
    names = [one.authorization_id for one in found.decisions if one.authorization_id is not None]
    return PersonRows(
        emaids=frozenset(found.emaids),
        psp_customers=frozenset(customer for customer in payers if customer is not None),
        authorizations=frozenset(parse_id("auth", name) for name in names),
    )


def _merged(one: PersonRows, other: PersonRows) -> PersonRows:
    return PersonRows(
        customers=one.customers | other.customers,
        psp_customers=one.psp_customers | other.psp_customers,
        methods=one.methods | other.methods,
        authorizations=one.authorizations | other.authorizations,
        sessions=one.sessions | other.sessions,
        tokens=one.tokens | other.tokens,
        emaids=one.emaids | other.emaids,
        texts=one.texts | other.texts,
    )


def _counted(rows: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in rows.items() if count}
