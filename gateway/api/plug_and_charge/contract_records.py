"""Contracts in bulk and on the record: import, the feed of changes, history, and certificates.

Owns: the wire form. Must not know certificates. No answer names a means of payment.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field, ValidationError

from gateway.api import problems
from gateway.api.endpoint import ApiRequest, ApiResponse, QueryModel, WireModel, whole
from gateway.api.field_types import MAX_PAGE, Slug, fingerprint, foreign_cursor
from gateway.api.idempotency import KeyRule
from gateway.api.plug_and_charge.contracts import (
    ContractBody,
    Environment,
    Reason,
    caller_of,
    contracts_of,
    endpoint,
    new_contract,
)
from gateway.api.problems import ProblemError
from gateway.api.request_bodies import invalid
from gateway.schemas import api_schemas
from pnc.contract import ChangeCursor, NewContract
from pnc.emaid import parse_emaid
from pnc.errors import MalformedEmaidError, UnfitContractError

MAX_ROWS: Final = 2000
_CURSOR: Final = re.compile(r"([0-9]{1,19})\.([0-9]{1,18})")
_MAX_TRANSACTION: Final = 2**63 - 1


class ImportContractsBody(WireModel):
    """Contracts, each in the form of a single one; all in one environment."""

    environment: Environment | None = None
    contracts: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_ROWS)


class BlockCertificateBody(WireModel):
    """Why the certificate is blocked; kept with it."""

    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class ChangesQuery(QueryModel):
    """Changes after a cursor; continue with `next_cursor`."""

    cursor: Annotated[str, Field(max_length=40)] = "0.0"
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    party: Slug | None = None


class ContractImportRowSchema(api_schemas.PublicSchema):
    """The outcome of one row."""

    row: int
    emaid: str
    outcome: Literal["created", "changed", "unchanged", "rejected"]
    problem: str | None
    warning: str | None


class ContractImportSchema(api_schemas.PublicSchema):
    """The outcome of every row, in order; a rejected row does not stop the others."""

    object: Literal["contract_import"] = "contract_import"
    stored: int
    rejected: int
    rows: list[ContractImportRowSchema]


class ContractChangeSchema(api_schemas.PublicSchema):
    """One change of a contract. `contract` is its pseudonym for partners."""

    object: Literal["contract_change"] = "contract_change"
    emaid: str
    contract: str | None
    party: str | None
    kind: str
    revision: int
    actor: str
    reason: str
    at: api_schemas.Instant


class ContractCertificateSchema(api_schemas.PublicSchema):
    """A certificate that names a contract."""

    object: Literal["contract_certificate"] = "contract_certificate"
    sha256: str
    serial: str
    source: str
    not_before: api_schemas.Instant
    not_after: api_schemas.Instant
    registered_at: api_schemas.Instant
    blocked_at: api_schemas.Instant | None
    blocked_reason: Reason | None


async def import_contracts(call: ApiRequest) -> ApiResponse:
    """Store many contracts in one transaction; each row is stored or rejected by itself, and reported."""
    body: ImportContractsBody = call.body
    caller = caller_of(call, body.environment)
    reports = await contracts_of(call).import_rows(caller, [_row(row) for row in body.contracts])
    shown = [
        ContractImportRowSchema.model_validate(
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
    rejected = sum(1 for report in shown if report.outcome == "rejected")
    return ApiResponse(body=ContractImportSchema(stored=len(shown) - rejected, rejected=rejected, rows=shown))


def _row(row: Mapping[str, Any]) -> NewContract | UnfitContractError:
    """One row as a contract, or what is wrong with it.

    The text names the field, never the means of payment.
    """
    try:
        return new_contract(ContractBody.model_validate_json(msgspec.json.encode(row)))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        fault = invalid(details, given=row, model=ContractBody).rejection.errors[0]
        return UnfitContractError(path=fault.pointer or "/", problem=fault.expected)


async def list_changes(call: ApiRequest) -> ApiResponse:
    """Changes of contracts after a cursor; none is ever skipped."""
    query: ChangesQuery = call.query
    found = await contracts_of(call).list_changes(
        caller_of(call), party=query.party, after=_cursor(query.cursor), limit=query.limit + 1
    )
    shown = [
        ContractChangeSchema(
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
    return ApiResponse(body={"object": "list", "data": shown, "has_more": more, "next_cursor": cursor})


async def list_history(call: ApiRequest) -> ApiResponse:
    """Every change of one contract, oldest first."""
    emaid = _emaid(call)
    found = await contracts_of(call).load_history(caller_of(call), emaid)
    return ApiResponse(
        body=whole(ContractChangeSchema(emaid=emaid, contract=None, party=None, **row) for row in found)
    )


async def list_certificates(call: ApiRequest) -> ApiResponse:
    """Every certificate of a contract, oldest first, blocked ones too."""
    found = await contracts_of(call).list_certificates(caller_of(call), _emaid(call))
    return ApiResponse(
        body=whole(
            ContractCertificateSchema(
                sha256=row["leaf_sha256"],
                serial=row["serial"],
                source=row["source"],
                not_before=row["not_before"],
                not_after=row["not_after"],
                registered_at=row["registered_at"],
                blocked_at=row["blocked_at"],
                blocked_reason=row["blocked_reason"],
            )
            for row in found
        )
    )


async def block(call: ApiRequest) -> ApiResponse:
    """Reject a certificate from now on, whatever its issuer says."""
    await contracts_of(call).block_certificate(
        caller_of(call), _emaid(call), fingerprint(call.path["sha256"]), reason=call.body.reason
    )
    return ApiResponse(body=None, status=204)


def _emaid(call: ApiRequest) -> str:
    try:
        return parse_emaid(call.path["emaid"]).body
    except MalformedEmaidError as error:
        raise ProblemError(problems.NOT_FOUND, f"{error}.") from None


def _cursor(text: str) -> ChangeCursor:
    parts = _CURSOR.fullmatch(text)
    if parts is None or int(parts[1]) > _MAX_TRANSACTION:
        raise foreign_cursor()
    return ChangeCursor(transaction=int(parts[1]), sequence=int(parts[2]))


_EMAID: Final = "{emaid}"
ENDPOINTS: Final = (
    endpoint(
        "POST",
        "contract-imports",
        "importContracts",
        "Import contracts",
        handler=import_contracts,
        body=ImportContractsBody,
        large_body=True,
        answers={200: ContractImportSchema},
        key_rule=KeyRule.OPTIONAL,
    ),
    endpoint(
        "GET",
        "contract-changes",
        "listContractChanges",
        "List contract changes",
        handler=list_changes,
        query=ChangesQuery,
        answers={200: ContractChangeSchema},
        listed=True,
    ),
    endpoint(
        "GET",
        f"contracts/{_EMAID}/history",
        "getContractHistory",
        "Get the history of a contract",
        handler=list_history,
        answers={200: ContractChangeSchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    endpoint(
        "GET",
        f"contracts/{_EMAID}/certificates",
        "listContractCertificates",
        "List the certificates of a contract",
        handler=list_certificates,
        answers={200: ContractCertificateSchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    endpoint(
        "POST",
        f"contracts/{_EMAID}/certificates/{{sha256}}/block",
        "blockCertificate",
        "Block a contract certificate",
        handler=block,
        body=BlockCertificateBody,
        answers={204: None},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
)
