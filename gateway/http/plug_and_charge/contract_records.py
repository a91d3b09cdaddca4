"""Contracts in bulk and on the record: import, the feed of changes, history, and certificates.

Owns: the wire form. Must not know certificates. No answer here names a means of payment.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field, ValidationError

from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.bodies import invalid
from gateway.http.endpoint import Answer, Call, QueryModel, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import MAX_PAGE, Slug, fingerprint
from gateway.http.plug_and_charge.contracts import (
    ContractIn,
    Environment,
    Reason,
    endpoint,
    new_contract,
    service_of,
)
from gateway.http.problems import FieldError, ProblemError
from pnc import contract_desk, registry
from pnc.contract_desk import Cursor, NewContract
from pnc.emaid import parse_emaid
from pnc.errors import MalformedEmaidError, UnfitContractError

MAX_ROWS: Final = 2000
_CURSOR: Final = re.compile(r"([0-9]{1,19})\.([0-9]{1,18})")
_MAX_TRANSACTION: Final = 2**63 - 1


class ImportIn(WireModel):
    """Contracts, each in the form of a single one; all in one environment."""

    environment: Environment | None = None
    contracts: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_ROWS)


class WithdrawIn(WireModel):
    """Why."""

    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class ChangesQuery(QueryModel):
    """Changes after a cursor; come again with `next_cursor`."""

    cursor: Annotated[str, Field(max_length=40)] = "0.0"
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    party: Slug | None = None


class RowOut(objects.PublicObject):
    """What became of one row."""

    row: int
    emaid: str
    outcome: Literal["created", "changed", "unchanged", "refused"]
    problem: str | None
    warning: str | None


class ImportOut(objects.PublicObject):
    """What became of every row, in order; one that was refused kept none of the others back."""

    object: Literal["contract_import"] = "contract_import"
    stored: int
    refused: int
    rows: list[RowOut]


class ChangeOut(objects.PublicObject):
    """One change of a contract. `contract` stands for it where others look."""

    object: Literal["contract_change"] = "contract_change"
    emaid: str
    contract: str | None
    party: str | None
    kind: str
    revision: int
    actor: str
    reason: str
    at: objects.Instant


class CertificateOut(objects.PublicObject):
    """A certificate that names a contract."""

    object: Literal["contract_certificate"] = "contract_certificate"
    sha256: str
    serial: str
    source: str
    not_before: objects.Instant
    not_after: objects.Instant
    registered_at: objects.Instant
    withdrawn_at: objects.Instant | None
    withdrawn_reason: Reason | None


async def import_contracts(call: Call) -> Answer:
    """Store many contracts in one transaction; each row stands or falls alone and is reported."""
    body: ImportIn = call.body
    environment = body.environment or call.services.options.environment
    rows = [await _row(call, row) for row in body.contracts]
    verifier, _ = await service_of(call).trust_of(call.services.pool, environment=environment)
    async with transaction(call.services.pool) as connection:
        reports = await contract_desk.import_contracts(
            connection,
            rows,
            environment=environment,
            verifier=verifier,
            actor=call.caller.party_id,
            now=call.services.now(),
        )
    shown = [
        RowOut.model_validate(
            {
                "row": report.row,
                "emaid": report.emaid,
                "outcome": report.outcome,
                "problem": report.problem or None,
                "warning": report.warning or None,
            }
        )
        for report in reports
    ]
    refused = sum(1 for report in shown if report.outcome == "refused")
    return Answer(body=ImportOut(stored=len(shown) - refused, refused=refused, rows=shown))


async def _row(call: Call, row: Mapping[str, Any]) -> NewContract | UnfitContractError:
    """One row as a contract, or what is wrong with it; its place is told, never the means of payment."""
    try:
        contract = ContractIn.model_validate_json(msgspec.json.encode(row))
        return await new_contract(call, contract)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        fault = invalid(details, given=row, model=ContractIn).refusal.errors[0]
        return UnfitContractError(path=fault.pointer or "/", problem=fault.expected)
    except ProblemError as error:
        return UnfitContractError(path="/party", problem=error.refusal.detail)


async def changes(call: Call) -> Answer:
    """Changes of contracts after a cursor; none is ever skipped, whatever order writers commit in."""
    query: ChangesQuery = call.query
    found = await contract_desk.changes(
        call.services.pool,
        environment=call.services.options.environment,
        after=_cursor(query.cursor),
        party=query.party,
        limit=query.limit + 1,
    )
    shown = [
        ChangeOut(
            emaid=change.emaid,
            contract=str(change.contract_id),
            party=change.party,
            kind=change.kind,
            revision=change.revision,
            actor=change.actor,
            reason=change.reason,
            at=change.at,
        )
        for change in found[: query.limit]
    ]
    cursor = query.cursor
    if shown:
        last = found[len(shown) - 1].cursor
        cursor = f"{last.transaction}.{last.sequence}"
    more = len(found) > query.limit
    return Answer(body={"object": "list", "data": shown, "has_more": more, "next_cursor": cursor})


async def history(call: Call) -> Answer:
    """Every change of one contract, oldest first."""
    emaid = _emaid(call)
    found = await contract_desk.history(
        call.services.pool, environment=call.services.options.environment, emaid=emaid
    )
    if not found:
        raise ProblemError(problems.NOT_FOUND, f"There is no contract {emaid}.")
    return _list([ChangeOut(emaid=emaid, contract=None, party=None, **row) for row in found])


async def certificates(call: Call) -> Answer:
    """Every certificate of a contract, oldest first, withdrawn ones too."""
    found = await registry.history(
        call.services.pool, environment=call.services.options.environment, emaid=_emaid(call)
    )
    return _list(
        [
            CertificateOut(
                sha256=row["leaf_sha256"],
                serial=row["serial"],
                source=row["source"],
                not_before=row["not_before"],
                not_after=row["not_after"],
                registered_at=row["registered_at"],
                withdrawn_at=row["withdrawn_at"],
                withdrawn_reason=row["withdrawn_reason"],
            )
            for row in found
        ]
    )


async def withdraw(call: Call) -> Answer:
    """Refuse a certificate from now on, whatever its issuer says."""
    await registry.withdraw(
        call.services.pool,
        environment=call.services.options.environment,
        emaid=_emaid(call),
        leaf_sha256=fingerprint(call.path["sha256"]),
        reason=call.body.reason,
        now=call.services.now(),
    )
    return Answer(body=None, status=204)


def _emaid(call: Call) -> str:
    try:
        return parse_emaid(call.path["emaid"]).body
    except MalformedEmaidError as error:
        raise ProblemError(problems.NOT_FOUND, f"{error}.") from None


def _cursor(text: str) -> Cursor:
    parts = _CURSOR.fullmatch(text)
    if parts is None or int(parts[1]) > _MAX_TRANSACTION:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            "cursor is not one that this feed gave.",
            errors=[FieldError(pointer="/cursor", expected="next_cursor of the page before")],
        )
    return Cursor(transaction=int(parts[1]), sequence=int(parts[2]))


def _list(shown: list[Any]) -> Answer:
    return Answer(body={"object": "list", "data": shown, "has_more": False, "next_cursor": None})


_EMAID: Final = "{emaid}"
ENDPOINTS: Final = (
    endpoint(
        "POST",
        "contract-imports",
        "importContracts",
        "Store many contracts",
        handler=import_contracts,
        body=ImportIn,
        large_body=True,
        answers={200: ImportOut},
        key_rule=KeyRule.OPTIONAL,
    ),
    endpoint(
        "GET",
        "contract-changes",
        "listContractChanges",
        "List changes of contracts",
        handler=changes,
        query=ChangesQuery,
        answers={200: ChangeOut},
        listed=True,
    ),
    endpoint(
        "GET",
        f"contracts/{_EMAID}/history",
        "getContractHistory",
        "List a contract's changes",
        handler=history,
        answers={200: ChangeOut},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    endpoint(
        "GET",
        f"contracts/{_EMAID}/certificates",
        "listContractCertificates",
        "List a contract's certificates",
        handler=certificates,
        answers={200: CertificateOut},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    endpoint(
        "POST",
        f"contracts/{_EMAID}/certificates/{{sha256}}/withdraw",
        "withdrawCertificate",
        "Refuse a certificate from now on",
        handler=withdraw,
        body=WithdrawIn,
        answers={204: None},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
)
