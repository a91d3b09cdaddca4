"""Plug & Charge: contracts, roots, how fresh revocation status is, and why a decision came out as it did.

Owns: the lists and the pages of one contract, root and decision; forms act in
`gateway.console.views.plug_and_charge_acts`. Must not know certificates. A party sees its own contracts and
the decisions of its own stations; the eMAID of a decision is the platform's to see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from gateway.api import problems
from gateway.api.field_types import id_of_cursor
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists
from gateway.console.calls import ActOutcome
from gateway.console.page import ConsolePage, paged
from gateway.database import is_distributed
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from pnc import overview_service
from pnc.authorization import AuthorizationDecision, AuthorizationDecisionState
from pnc.decision_explanation import CheckResult, explain
from pnc.overview_service import RevocationHealth
from pnc.root_description import describe_root

_PAGE: Final = 25
_ROWS_AT_ONCE: Final = 200
_DECISION: Final = "dec"
_READS: Final = "getPlugAndChargeSettlement"
_PRIVATE_KEY: Final = "PRIVATE KEY"
STATES: Final = tuple(state.value for state in AuthorizationDecisionState)
_DECISION_COLUMNS: Final = ("id", "operator", "evse", "session_ref", "state", "reason", "detail", "decided")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRejection:
    """A form that was rejected: which one, the problem in a sentence, and the status of the answer."""

    form: str
    text: str
    status: int

    @classmethod
    def of_outcome(cls, form: str, outcome: ActOutcome) -> "FormRejection":
        """Of an act's answer. Raises ProblemError where the person may not act: no form is shown again."""
        if outcome.status == problems.MISSING_SCOPE.status:
            raise ProblemError(problems.MISSING_SCOPE, outcome.text)
        return cls(form=form, text=outcome.text, status=outcome.status)


async def contracts(page: ConsolePage) -> web.StreamResponse:
    """Contracts in the order of their eMAIDs."""
    if _is_file(page):
        return await csv_file.answer_list(page, csv_lists.CONTRACTS)
    found = await page.calls.read("listContracts", query={"limit": str(_PAGE), **page.query("cursor")})
    return page.respond("contracts.html", found=found)


async def contract(page: ConsolePage) -> web.Response:
    """One contract: what it is, its history and certificates; for those who may, its forms."""
    return await show_contract(page)


async def show_contract(page: ConsolePage, rejection: FormRejection | None = None) -> web.Response:
    """The page of a contract, with a form that was rejected on it."""
    emaid = page.request.match_info["emaid"]
    found = await page.calls.read_where_there("getContract", emaid=emaid)
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such contract.")
    history = await page.calls.read("getContractHistory", emaid=emaid)
    certificates = await page.calls.read("listContractCertificates", emaid=emaid)
    return page.respond(
        "contract.html",
        contract=found,
        emaid=found["emaid"],
        history=history["data"],
        certificates=certificates["data"],
        now=page.services.now(),
        **form_of(page, rejection),
    )


def form_of(page: ConsolePage, rejection: FormRejection | None) -> dict[str, Any]:
    """What a page shows of a rejected form: the problem, and what was written in it."""
    given = {} if rejection is None else dict(page.form)
    if _PRIVATE_KEY in given.get("pem", ""):
        del given["pem"]  # it goes no further, not even back
    status = {} if rejection is None else {"status": rejection.status}
    return {"rejection": rejection, "given": given, **status}


async def roots(page: ConsolePage) -> web.StreamResponse:
    """Roots that contract certificates may chain to."""
    if _is_file(page):
        return await csv_file.answer_list(page, csv_lists.ROOTS)
    return await show_roots(page)


async def show_roots(page: ConsolePage, rejection: FormRejection | None = None) -> web.Response:
    """The list of roots, with a form that was rejected on it."""
    found = await page.calls.read("listTrustedRoots")
    return page.respond("roots.html", roots=found["data"], **form_of(page, rejection))


async def root(page: ConsolePage) -> web.Response:
    """One trusted root: what is in its certificate, its policy; for those who may, its forms."""
    return await show_root(page)


async def show_root(page: ConsolePage, rejection: FormRejection | None = None) -> web.Response:
    """The page of a root, with a form that was rejected on it."""
    sha256 = page.request.match_info["sha256"].lower()
    found = await find_root(page, sha256)
    anchor = authorities = None
    if page.calls.may_read("listTrustAnchors"):
        anchor = _with_hash(await page.calls.read("listTrustAnchors"), sha256)
        named = await page.calls.read("listContractAuthorities")
        authorities = [one for one in named["data"] if one["anchor"] == sha256]
    return page.respond(
        "root.html",
        found=found,
        root=describe_root(found["pem"], now=page.services.now()),
        anchor=anchor,
        authorities=authorities,
        **form_of(page, rejection),
    )


async def find_root(page: ConsolePage, sha256: str) -> dict[str, Any]:
    """A trusted root by its SHA-256. Raises ProblemError `not_found`."""
    found = _with_hash(await page.calls.read("listTrustedRoots"), sha256)
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such trusted root.")
    return found


def _with_hash(listed: Mapping[str, Any], sha256: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = next((one for one in listed["data"] if one["sha256"] == sha256), None)
    return found


async def revocation(page: ConsolePage) -> web.StreamResponse:
    """How fresh lists and answers of responders are, and where they are asked for. The platform's."""
    page.calls.need("listRevocationSources")
    if _is_file(page):
        health = await read_health(page)
        columns = ("authority_sha256", "this_update", "usable_until", "fetched_at", "size_bytes")
        rows = [
            (one.authority_sha256.hex(), one.this_update, one.usable_until, one.fetched_at, one.size_bytes)
            for one in health.lists
        ]
        return await csv_file.answer_rows(page, "revocation-lists", columns, rows)
    return await show_revocation(page)


async def show_revocation(
    page: ConsolePage, rejection: FormRejection | None = None, *, refreshed: Mapping[str, Any] | None = None
) -> web.Response:
    """How fresh status is, with what a refresh brought."""
    sources = await page.calls.read("listRevocationSources")
    return page.respond(
        "revocation.html",
        health=await read_health(page),
        sources=sources["data"],
        now=page.services.now(),
        refreshed=refreshed,
        **form_of(page, rejection),
    )


async def read_health(page: ConsolePage) -> RevocationHealth:
    """How fresh lists and statuses are now."""
    return await overview_service.read_revocation_health(
        page.services.pool, environment=page.services.options.environment, now=page.services.now()
    )


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
            await listed(id_of_cursor(page.cursor, _DECISION), _PAGE + 1),
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
        contract=await _contract_of(page, found),
        id=format_id(_DECISION, found.id),
        checks=explain(found),
        tones={
            CheckResult.PASSED: "good",
            CheckResult.FAILED: "bad",
            CheckResult.PENDING: "waiting",
            CheckResult.NOT_REACHED: "",
        },
    )


async def _contract_of(page: ConsolePage, found: AuthorizationDecision) -> dict[str, Any] | None:
    """The contract that a vehicle named; None where there is none that the person may see."""
    if not page.calls.platform or not found.emaid:
        return None
    return await page.calls.read_where_there("getContract", emaid=found.emaid)


def _is_file(page: ConsolePage) -> bool:
    return page.request.query.get("format") == "csv"
