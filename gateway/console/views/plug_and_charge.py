"""Plug & Charge: contracts, roots, how fresh revocation status is, and why a decision came out as it did.

Owns: the lists and the page of one decision. Must not know certificates. A party sees its own contracts and
the decisions of its own stations; the eMAID of a decision is the platform's to see.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from aiohttp import web

from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists
from gateway.console.page import ConsolePage, paged
from gateway.database import is_distributed
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from pnc import overview_service
from pnc.authorization import AuthorizationDecision, AuthorizationDecisionState
from pnc.decision_explanation import CheckResult, explain

_PAGE: Final = 25
_ROWS_AT_ONCE: Final = 200
_DECISION: Final = "dec"
_READS: Final = "getPlugAndChargeSettlement"
STATES: Final = tuple(state.value for state in AuthorizationDecisionState)
_DECISION_COLUMNS: Final = ("id", "operator", "evse", "session_ref", "state", "reason", "detail", "decided")


async def contracts(page: ConsolePage) -> web.StreamResponse:
    """Contracts in the order of their eMAIDs."""
    if _is_file(page):
        return await csv_file.answer_list(page, csv_lists.CONTRACTS)
    found = await page.calls.read("listContracts", query={"limit": str(_PAGE), **page.query("cursor")})
    return page.respond("contracts.html", found=found)


async def contract(page: ConsolePage) -> web.Response:
    """One contract: its history and certificates."""
    emaid = page.request.match_info["emaid"]
    history = await page.calls.read_where_there("getContractHistory", emaid=emaid)
    if history is None or not history["data"]:
        raise ProblemError(problems.NOT_FOUND, "There is no such contract.")
    certificates = await page.calls.read("listContractCertificates", emaid=emaid)
    return page.respond(
        "contract.html", emaid=emaid, history=history["data"], certificates=certificates["data"]
    )


async def roots(page: ConsolePage) -> web.StreamResponse:
    """Roots that contract certificates may chain to."""
    if _is_file(page):
        return await csv_file.answer_list(page, csv_lists.ROOTS)
    found = await page.calls.read("listTrustedRoots")
    return page.respond("roots.html", roots=found["data"], now=page.services.now())


async def revocation(page: ConsolePage) -> web.StreamResponse:
    """How fresh lists and answers of responders are, and where they are asked for. The platform's."""
    page.calls.need("listRevocationSources")
    environment, now = page.services.options.environment, page.services.now()
    health = await overview_service.read_revocation_health(
        page.services.pool, environment=environment, now=now
    )
    if _is_file(page):
        columns = ("authority_sha256", "this_update", "usable_until", "fetched_at", "size_bytes")
        rows = [
            (one.authority_sha256.hex(), one.this_update, one.usable_until, one.fetched_at, one.size_bytes)
            for one in health.lists
        ]
        return await csv_file.answer_rows(page, "revocation-lists", columns, rows)
    sources = await page.calls.read("listRevocationSources")
    return page.respond("revocation.html", health=health, sources=sources["data"], now=now)


async def decisions(page: ConsolePage) -> web.StreamResponse:
    """Decisions, newest first."""
    page.calls.need(_READS)
    state = page.request.query.get("state", "")

    async def listed(before: UUID | None, limit: int) -> Sequence[AuthorizationDecision]:
        return await overview_service.list_decisions(
            page.services.pool,
            environment=page.services.options.environment,
            operator_id=page.own_party or page.request.query.get("party") or None,
            state=AuthorizationDecisionState(state) if state in STATES else None,
            before=before,
            limit=limit,
            distributed=is_distributed(page.services.pool),
        )

    if _is_file(page):
        return await csv_file.answer_pages(
            page,
            "decisions",
            _DECISION_COLUMNS,
            lambda last: listed(None if last is None else last.id, _ROWS_AT_ONCE),
            lambda one: [
                (
                    format_id(_DECISION, one.id),
                    one.operator_id,
                    one.evse_id,
                    one.session_ref,
                    one.state.value,
                    one.rejection_reason,
                    one.detail,
                    one.decided_at,
                )
            ],
        )
    return page.respond(
        "decisions.html",
        found=paged(
            await listed(_before(page), _PAGE + 1),
            limit=_PAGE,
            cursor=lambda one: format_id(_DECISION, one.id),
        ),
        name=lambda one: format_id(_DECISION, one.id),
        states=STATES,
        state=state,
    )


async def decision(page: ConsolePage) -> web.Response:
    """One decision, check by check."""
    page.calls.need(_READS)
    try:
        decision_id = parse_id(_DECISION, page.request.match_info["id"])
    except MalformedIdError as error:
        raise ProblemError(problems.NOT_FOUND, f"{error}.") from None
    found = await overview_service.find_decision(
        page.services.pool,
        decision_id,
        environment=page.services.options.environment,
        operator_id=page.own_party,
    )
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such decision.")
    return page.respond(
        "decision.html",
        decision=found,
        id=format_id(_DECISION, found.id),
        checks=explain(found),
        tones={
            CheckResult.PASSED: "good",
            CheckResult.FAILED: "bad",
            CheckResult.PENDING: "waiting",
            CheckResult.NOT_REACHED: "",
        },
    )


def _is_file(page: ConsolePage) -> bool:
    return page.request.query.get("format") == "csv"


def _before(page: ConsolePage) -> UUID | None:
    cursor = page.request.query.get("cursor")
    try:
        return None if not cursor else parse_id(_DECISION, cursor)
    except MalformedIdError:
        raise ProblemError(
            problems.INVALID_PARAMETERS, "cursor: this list did not return it; start without one."
        ) from None
