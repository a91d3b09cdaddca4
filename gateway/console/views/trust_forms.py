"""Forms on contract authorities, cross certificates and uploaded CRLs: shown first, then confirmed.

Owns: how their fields become operations, the list of cross certificates, and that only what was shown is
confirmed. Must not know certificates, or who may: the operations say so. A rejected form is shown again with
what was written in it; a file is chosen anew.
"""

import asyncio
import binascii
from base64 import b64decode, b64encode
from typing import Final

from aiohttp import web

from gateway.api import problems
from gateway.api.plug_and_charge.revocation_sources import crl_bytes
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists
from gateway.console.page import ConsolePage
from gateway.console.views import plug_and_charge as pages
from gateway.console.views.plug_and_charge import FormRejection
from gateway.people.roles import ActArea
from pnc.errors import UnfitAuthorityError
from pnc.revocation_list_description import describe_revocation_list
from pnc.root_description import describe_contract_authority, describe_cross_certificate

_ROOTS: Final = "/console/plug-and-charge/roots"
_CROSS: Final = "/console/plug-and-charge/cross-certificates"
_REVOCATION: Final = "/console/plug-and-charge/revocation"
_LONGEST_PEM: Final = 32_000
MOST_CRL_BYTES: Final = 450_000  # a longer one is uploaded by the API: it goes through a form twice
_DER: Final = b"\x30"  # a SEQUENCE: no base64 of one begins so
_AUTHORITY: Final = "authority"
_REMOVE: Final = "authority-remove"
_CROSS_FORM: Final = "cross"
_RETIRE: Final = "cross-retire"
_CRL: Final = "crl"
_NOT_WHAT_WAS_SHOWN: Final = "That is not what was shown; check it again."
_ALL: Final = {"retired": "true"}


async def act_on_authority(page: ConsolePage) -> web.Response:
    """Show who is to issue contracts below a root, name them once confirmed, or remove their right."""
    if page.form.get("act") == "remove":
        return await _remove_authority(page)
    _need(page, "allowContractAuthority")
    sha256 = page.request.match_info["sha256"].lower()
    text = page.form.get("authority", "").strip()
    try:
        _check_length(text)
        shown = describe_contract_authority(text, now=page.services.now())
    except UnfitAuthorityError as error:
        return await pages.show_root(page, _rejected(_AUTHORITY, str(error)))
    if page.form.get("confirmed") != "yes":
        root = await pages.find_root(page, sha256)
        named = await page.calls.read("listContractAuthorities")
        if any((one["anchor"], one["key_sha256"]) == (sha256, shown.key_sha256) for one in named["data"]):
            known = f"authority: the key {shown.key_sha256} is named below this root already"
            return await pages.show_root(page, _rejected(_AUTHORITY, known))
        return page.respond("authority_preview.html", shown=shown, root=root, given=page.form)
    if page.form.get("key_sha256") != shown.key_sha256:
        return await pages.show_root(page, _rejected(_AUTHORITY, _NOT_WHAT_WAS_SHOWN))
    given = {"key_sha256": shown.key_sha256} if shown.certificate is None else {"pem": shown.certificate.pem}
    body = given | {"reason": _reason(page)}
    outcome = await page.act("allowContractAuthority", ActArea.TRUST, body=body, sha256=sha256)
    if outcome.rejected:
        return await pages.show_root(page, FormRejection.of_outcome(_AUTHORITY, outcome))
    return page.back(f"{_ROOTS}/{sha256}")


async def _remove_authority(page: ConsolePage) -> web.Response:
    sha256 = page.request.match_info["sha256"].lower()
    body = {"key_sha256": page.form.get("key_sha256", ""), "reason": _reason(page)}
    outcome = await page.act("removeContractAuthority", ActArea.TRUST, body=body, sha256=sha256)
    if outcome.rejected:
        return await pages.show_root(page, FormRejection.of_outcome(_REMOVE, outcome))
    return page.back(f"{_ROOTS}/{sha256}")


async def cross_certificates(page: ConsolePage) -> web.StreamResponse:
    """Certificates by which one root vouches for another, oldest first; also those that are retired."""
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.CROSS_CERTIFICATES, query=_ALL)
    return await _cross(page)


async def _cross(page: ConsolePage, rejection: FormRejection | None = None) -> web.Response:
    found = await page.calls.read("listCrossCertificates", query=_ALL)
    return page.respond("cross_certificates.html", found=found["data"], **pages.form_of(page, rejection))


async def add_cross_certificate(page: ConsolePage) -> web.Response:
    """Show what is in a cross certificate that somebody pasted; use it once they confirm what they saw."""
    _need(page, "addCrossCertificate")
    text = page.form.get("pem", "")
    try:
        _check_length(text)
        shown = describe_cross_certificate(text, now=page.services.now())
    except UnfitAuthorityError as error:
        return await _cross(page, _rejected(_CROSS_FORM, str(error)))
    if page.form.get("confirmed") != "yes":
        known = await page.calls.read("listCrossCertificates", query=_ALL)
        same = next((one for one in known["data"] if one["sha256"] == shown.sha256), None)
        if same is not None and same["retired_at"] is None:
            in_use = f"the cross certificate {shown.sha256} is in use already"
            return await _cross(page, _rejected(_CROSS_FORM, in_use))
        roots = await page.calls.read("listTrustedRoots")
        vouching = [one for one in roots["data"] if one["subject"] == shown.issuer]
        return page.respond(
            "cross_preview.html", shown=shown, vouching=vouching, retired=same, given=page.form
        )
    if page.form.get("sha256") != shown.sha256:
        return await _cross(page, _rejected(_CROSS_FORM, _NOT_WHAT_WAS_SHOWN))
    body = {"pem": shown.pem, "reason": _reason(page)}
    outcome = await page.act("addCrossCertificate", ActArea.TRUST, body=body)
    if outcome.rejected:
        return await _cross(page, FormRejection.of_outcome(_CROSS_FORM, outcome))
    return page.back(_CROSS)


async def retire_cross_certificate(page: ConsolePage) -> web.Response:
    """No new chain leads over a cross certificate from now on."""
    outcome = await page.act(
        "retireCrossCertificate",
        ActArea.TRUST,
        body={"reason": _reason(page)},
        sha256=page.request.match_info["sha256"].lower(),
    )
    if outcome.rejected:
        return await _cross(page, FormRejection.of_outcome(_RETIRE, outcome))
    return page.back(_CROSS)


async def upload_list(page: ConsolePage) -> web.Response:
    """Show what a CRL revokes, from a file; store it once somebody confirms what they saw."""
    _need(page, "uploadRevocationList")
    authority = page.form.get("authority", "").strip()
    confirmed = page.form.get("confirmed") == "yes"
    try:
        der = _shown_list(page) if confirmed else _file(page)
        _check_length(authority)
        shown = await asyncio.to_thread(
            describe_revocation_list, der, authority=authority, now=page.services.now()
        )
    except (UnfitAuthorityError, ProblemError) as error:
        text = error.rejection.detail if isinstance(error, ProblemError) else str(error)
        return await pages.show_revocation(page, _rejected(_CRL, text))
    if not confirmed:
        health = await pages.read_health(page)
        stored = next(
            (one for one in health.lists if one.authority_sha256.hex() == shown.authority_sha256), None
        )
        return page.respond(
            "crl_preview.html",
            shown=shown,
            stored=stored,
            crl=b64encode(der).decode(),
            given=page.form,
            now=page.services.now(),
        )
    if page.form.get("sha256") != shown.sha256:
        return await pages.show_revocation(page, _rejected(_CRL, _NOT_WHAT_WAS_SHOWN))
    body = {"authority": authority, "crl": b64encode(der).decode(), "reason": _reason(page)}
    outcome = await page.act("uploadRevocationList", ActArea.TRUST, body=body)
    if outcome.rejected:
        return await pages.show_revocation(page, FormRejection.of_outcome(_CRL, outcome))
    return page.back(_REVOCATION)


def _file(page: ConsolePage) -> bytes:
    """The DER of the file that was chosen, which is DER, PEM or base64. Raises ProblemError."""
    file = page.files.get("file")
    if file is None or not file.content:
        raise _unfit("crl: choose a file with a CRL, in DER or PEM.")
    if len(file.content) > MOST_CRL_BYTES:
        raise _unfit(
            f"crl: {len(file.content):,} bytes; at most {MOST_CRL_BYTES:,} here. "
            "A longer list is uploaded by the operation uploadRevocationList."
        )
    if file.content.startswith(_DER):
        return file.content
    try:
        return crl_bytes(file.content.decode("ascii", errors="replace"))
    except ProblemError:
        raise _unfit("crl: expected a CRL in DER, in PEM, or in base64 of its DER.") from None


def _shown_list(page: ConsolePage) -> bytes:
    """The DER that the page of the first step carries. Raises ProblemError."""
    try:
        return b64decode(page.form.get("crl", ""), validate=True)
    except (binascii.Error, ValueError):
        raise _unfit(_NOT_WHAT_WAS_SHOWN) from None


def _need(page: ConsolePage, operation: str) -> None:
    page.calls.need(operation)
    if not page.calls.may_act(ActArea.TRUST):
        raise ProblemError(problems.MISSING_SCOPE, "Your role does not do this.")


def _check_length(text: str) -> None:
    if len(text) > _LONGEST_PEM:
        raise UnfitAuthorityError(f"certificate: {len(text)} characters; at most {_LONGEST_PEM}")


def _reason(page: ConsolePage) -> str:
    return page.form.get("reason", "").strip()


def _unfit(text: str) -> ProblemError:
    return ProblemError(problems.INVALID_PARAMETERS, text)


def _rejected(form: str, text: str) -> FormRejection:
    return FormRejection(form=form, text=text, status=problems.INVALID_PARAMETERS.status)
