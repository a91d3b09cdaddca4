"""Acts of people on contracts, roots and the status of certificates: the forms of Plug & Charge.

Owns: how a form's fields become an operation, and that a rejected form is shown again with what was written
in it and why. Must not know certificates, or who may: the operations say so. A root is added in two steps:
what is in the certificate is shown, and only what was shown is confirmed.
"""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console.page import ConsolePage
from gateway.console.views import plug_and_charge as pages
from gateway.console.views.plug_and_charge import FormRejection
from gateway.people.roles import ActArea
from pnc.errors import UnfitAuthorityError
from pnc.root_description import RootDescription, describe_root
from pnc.trust import AnchorPurpose, RevocationPolicy

_ACTS_ON_CONTRACT: Final = {
    "block": "blockContract",
    "unblock": "unblockContract",
    "cancel": "cancelContract",
    "disable-payment": "disableContractPayment",
    "enable-payment": "enableContractPayment",
}
# What a contract keeps when its means of payment becomes another one.
_KEPT: Final = (
    "emaid",
    "party",
    "valid_from",
    "valid_to",
    "limit",
    "currency",
    "sessions_at_once",
    "sessions_per_day",
    "offline_limit",
    "amount_per_day",
    "on_suspicion",
)
_MANDATE: Final = "psp_payment_method"
_ACCOUNT: Final = "partner_account"
_ROOTS: Final = "/console/plug-and-charge/roots"
_CONTRACTS: Final = "/console/plug-and-charge/contracts"
_LONGEST_PEM: Final = 32_000
_CHANGED_MEANWHILE: Final = "Somebody changed the contract meanwhile; what it is now is shown here."
_NOT_WHAT_WAS_SHOWN: Final = "That is not the certificate that was shown; check it again."


async def act_on_contract(page: ConsolePage) -> web.Response:
    """Block, unblock or end a contract, or stop and allow its means of payment."""
    operation = _ACTS_ON_CONTRACT.get(page.form.get("act", ""))
    if operation is None:
        raise web.HTTPNotFound
    emaid = page.request.match_info["emaid"]
    area = ActArea.TRUST if operation.endswith("Payment") else ActArea.CONTRACTS
    body = {"reason": page.form.get("reason", "").strip()}
    outcome = await page.act(operation, area, body=body, emaid=emaid)
    if outcome.rejected:
        return await pages.show_contract(page, FormRejection.of_outcome("state", outcome))
    return page.back(f"{_CONTRACTS}/{emaid}")


async def name_payment(page: ConsolePage) -> web.Response:
    """Pay a contract's sessions by another means: a mandate at the PSP, or its party's funded account."""
    emaid = page.request.match_info["emaid"]
    if not page.calls.may_act(ActArea.CONTRACTS):
        raise ProblemError(problems.MISSING_SCOPE, "Your role does not do this.")
    contract = await page.calls.read_where_there("getContract", emaid=emaid)
    if contract is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such contract.")
    if page.form.get("revision") != str(contract["revision"]):
        rejection = FormRejection(
            form="payment", text=_CHANGED_MEANWHILE, status=problems.STATE_CONFLICT.status
        )
        return await pages.show_contract(page, rejection)
    outcome = await page.act("putContract", ActArea.CONTRACTS, body=with_payment(contract, page.form))
    if outcome.rejected:
        return await pages.show_contract(page, FormRejection.of_outcome("payment", outcome))
    return page.back(f"{_CONTRACTS}/{emaid}")


def with_payment(contract: Mapping[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
    """A contract as the API stores it, as it is but for the means of payment that a form names."""
    body = {name: contract[name] for name in _KEPT if contract.get(name) is not None}
    if form.get("type") == _ACCOUNT:
        return body | {"payment": {"type": _ACCOUNT}}
    named = {name: form.get(name, "").strip() for name in ("payment_method", "customer")}
    payment = {name: value for name, value in named.items() if value}
    return body | {"payment": {"type": _MANDATE, **payment}}


async def block_leaf(page: ConsolePage) -> web.Response:
    """Reject one certificate of a contract from now on."""
    match = page.request.match_info
    outcome = await page.act(
        "blockCertificate",
        ActArea.CONTRACTS,
        body={"reason": page.form.get("reason", "").strip()},
        emaid=match["emaid"],
        sha256=match["sha256"],
    )
    if outcome.rejected:
        return await pages.show_contract(page, FormRejection.of_outcome("certificates", outcome))
    return page.back(f"{_CONTRACTS}/{match['emaid']}")


async def add_root(page: ConsolePage) -> web.Response:
    """Show what is in a certificate that somebody pasted; add it once they confirm what they saw."""
    page.calls.need("addTrustAnchor")
    if not page.calls.may_act(ActArea.TRUST):
        raise ProblemError(problems.MISSING_SCOPE, "Your role does not do this.")
    try:
        shown = _described(page)
    except UnfitAuthorityError as error:
        return await _root_form_again(page, str(error))
    if shown.problem:
        return await _root_form_again(page, shown.problem)
    body = root_body(page.form, shown.pem, environment=page.services.options.environment)
    if page.form.get("confirmed") != "yes":
        return await _show_for_confirmation(page, shown, body)
    if page.form.get("sha256") != shown.sha256:
        return await _root_form_again(page, _NOT_WHAT_WAS_SHOWN)
    outcome = await page.act("addTrustAnchor", ActArea.TRUST, body=body)
    return await _root_form_again(page, outcome.text) if outcome.rejected else page.back(_ROOTS)


def _described(page: ConsolePage) -> RootDescription:
    pem = page.form.get("pem", "")
    if len(pem) > _LONGEST_PEM:
        raise UnfitAuthorityError(f"certificate: {len(pem)} characters; at most {_LONGEST_PEM}")
    return describe_root(pem, now=page.services.now())


def root_body(form: Mapping[str, str], pem: str, *, environment: str) -> dict[str, Any]:
    """A form's fields as the API reads them; sources are addresses, one a line."""
    sources = [
        {"kind": kind, "url": url} for kind in ("ocsp", "crl") for url in form.get(f"{kind}_urls", "").split()
    ]
    body: dict[str, Any] = {
        "environment": environment,
        "kind": form.get("kind", ""),
        "pem": pem,
        "policy": form.get("policy", ""),
        "policy_reason": form.get("policy_reason", "").strip(),
        "revocation_sources": sources,
    }
    reason = form.get("reason", "").strip()
    return body | ({"reason": reason} if reason else {})


async def _show_for_confirmation(
    page: ConsolePage, shown: RootDescription, body: Mapping[str, Any]
) -> web.Response:
    """What is in the certificate, and what it will be trusted for; or the form again with what is missing."""
    fault = _fault(body)
    if fault:
        return await _root_form_again(page, fault)
    known = await page.calls.read("listTrustAnchors", query={"retired": "true"})
    same = next((one for one in known["data"] if one["sha256"] == shown.sha256), None)
    if same is not None and same["retired_at"] is None:
        return await _root_form_again(page, f"the root {shown.sha256} is trusted already")
    return page.respond("root_preview.html", root=shown, given=page.form, body=body, retired=same)


def _fault(body: Mapping[str, Any]) -> str:
    """What is missing before a root can be shown for confirmation; "" nothing."""
    if body["kind"] not in set(AnchorPurpose):
        return "kind: expected mo_root or v2g_root"
    if body["policy"] not in set(RevocationPolicy):
        return "policy: expected require or soft"
    if body["policy"] == RevocationPolicy.SOFT and not body["policy_reason"]:
        return "policy_reason: a soft revocation policy states its reason"
    return ""


async def _root_form_again(page: ConsolePage, text: str) -> web.Response:
    rejection = FormRejection(form="root", text=text, status=problems.INVALID_PARAMETERS.status)
    return await pages.show_roots(page, rejection)


async def act_on_root(page: ConsolePage) -> web.Response:
    """Retire a root, or change what an unreachable source of revocation means under it."""
    sha256 = page.request.match_info["sha256"]
    reason = page.form.get("reason", "").strip()
    if page.form.get("act") == "retire":
        retired = await page.act("retireTrustAnchor", ActArea.TRUST, body={"reason": reason}, sha256=sha256)
        if not retired.rejected:
            return page.back(_ROOTS)
        return await pages.show_root(page, FormRejection.of_outcome("retire", retired))
    if page.form.get("act") != "policy":
        raise web.HTTPNotFound
    body = {
        "policy": page.form.get("policy", ""),
        "policy_reason": page.form.get("policy_reason", "").strip(),
        "reason": reason,
    }
    changed = await page.act("setRevocationPolicy", ActArea.TRUST, body=body, sha256=sha256)
    if changed.rejected:
        return await pages.show_root(page, FormRejection.of_outcome("policy", changed))
    return page.back(f"{_ROOTS}/{sha256}")


async def refresh_revocation(page: ConsolePage) -> web.Response:
    """Ask now for the statuses that are due, and show what came of it."""
    outcome = await page.act("refreshRevocationStatus", ActArea.TRUST)
    if outcome.rejected:
        return await pages.show_revocation(page, FormRejection.of_outcome("refresh", outcome))
    return await pages.show_revocation(page, refreshed=outcome.body)
