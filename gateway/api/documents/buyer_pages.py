"""The pages on which a driver names the company that buys a session, and finds its invoice. They need no key.

Owns: paths, the form, what it says of bad input. Must not know: VAT, what a document shows. A page runs no
script. Whoever has the link of the receipt may name a company, once; the documents are behind another link,
which only the one who named it gets: the receipt's link is known to the station's operator too.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, Literal
from urllib.parse import parse_qsl

from pydantic import ValidationError

from clearing.documents.driver_document_service import ReadDocument
from clearing.errors import ClearingError, InvalidPartyError, UnclearableError
from clearing.money import to_major
from clearing.parties.business_details import language_of
from gateway import api_schemas
from gateway.api import pages, problems
from gateway.api.capture.buyers import BuyerBody, buyer_party
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse
from gateway.api.problems import ProblemError
from gateway.card_numbers import holds_card_number
from gateway.ids import format_id
from gateway.partners.buyer_service import NamingObstacle

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 20
_BAD_INPUT, _CONFLICT, _SEE_OTHER = 400, 409, 303
_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"{pages.HEADERS['Content-Security-Policy']}; form-action 'self'",
    "Cache-Control": "private, no-store",
    "X-Robots-Tag": "noindex",
}
# Name, label, autocomplete, whether it must be given, what is expected where it is wrong.
_FIELDS: Final = (
    ("name", "Company", "organization", True, "the company's name, in at most 255 characters"),
    ("street", "Street and number", "street-address", True, "street and number, in at most 255 characters"),
    ("post_code", "Post code", "postal-code", False, "a post code of at most 16 characters"),
    ("town", "Town", "address-level2", True, "a town, in at most 255 characters"),
    ("country", "Country (two letters, such as NL)", "country", True, "two letters, such as NL"),
    ("vat_id", "VAT id", "off", False, "4 to 24 letters and digits, such as NL004495445B01"),
    ("reference", "Your reference", "off", False, "at most 100 characters"),
)
_ADDRESS: Final = ("street", "post_code", "town", "country")
_OBSTACLES: Final = {
    NamingObstacle.NAMED: "A company was named already. The provider that you charge with can name another.",
    NamingObstacle.TOO_LATE: "The session is too long ago. The provider that you charge with can help.",
    NamingObstacle.CANCELLED: "The session was cancelled: nothing was sold.",
}


class BuyerLinkSchema(api_schemas.PublicSchema):
    """A link for the driver of a session, to name the company that buys it."""

    object: Literal["buyer_link"] = "buyer_link"
    session: str
    url: str


async def create_link(call: ApiRequest) -> ApiResponse:
    """The link for the driver of a session of the caller's."""
    session_id = call.path_id("id", "ses")
    token = await call.services.buyers.create_link(session_id, party_id=call.caller.party_id)
    session = format_id("ses", session_id)
    url = f"{call.services.options.base_url}/v1/receipts/{session}/{token}/buyer"
    return ApiResponse(body=BuyerLinkSchema(session=session, url=url))


async def show_form(call: ApiRequest) -> ApiResponse:
    """The empty form, or why it is closed."""
    found = await call.services.buyers.find_obstacle(call.path_id("id", "ses"), token=call.path["token"])
    return _page(form_page({}, {})) if found is None else _closed(found)


async def name_company(call: ApiRequest) -> ApiResponse:
    """Name the company: on to its invoice, or the form again with what is wrong."""
    session_id, token = call.path_id("id", "ses"), call.path["token"]
    given = _read(call.raw)
    faults = {name: "no card number" for name, text in given.items() if holds_card_number(text)}
    if faults:
        return _page(form_page({}, faults), status=_BAD_INPUT)
    try:
        body = BuyerBody.model_validate_json(json.dumps(_body(given)))
        buyer = buyer_party(body, buyer_id=format_id("buy", call.resource_id))
        found = await call.services.buyers.name_by_link(session_id, buyer, token=token)
    except ValidationError as error:
        return _page(form_page(given, _faults(error)), status=_BAD_INPUT)
    except InvalidPartyError:
        fault = {"vat_id": "the VAT id as the register of that country wrote it"}
        return _page(form_page(given, fault), status=_BAD_INPUT)
    except UnclearableError as error:
        if error.reason != "unknown_tax_jurisdiction":
            return _page(_note(f"No invoice can be issued: {error}."), status=_CONFLICT)
        return _page(form_page(given, {"country": "a country whose companies we invoice"}), status=_BAD_INPUT)
    except ClearingError as error:
        return _page(_note(f"No invoice can be issued: {error}."), status=_CONFLICT)
    if isinstance(found, NamingObstacle):
        return _closed(found)
    location = f"/v1/invoices/{format_id('ses', session_id)}/{found.token}"
    return ApiResponse(body=b"", status=_SEE_OTHER, headers={**_HEADERS, "Location": location})


async def show_invoice(call: ApiRequest) -> ApiResponse:
    """The documents in the company's name, each as PDF."""
    session_id, token = call.path_id("id", "ses"), call.path["token"]
    found = await call.services.documents.get_by_link(session_id, token=token)
    path = f"/v1/invoices/{format_id('ses', session_id)}/{token}"
    return _page(invoice_page(found.documents, path=path))


async def get_file(call: ApiRequest) -> ApiResponse:
    """One of them as PDF, in the company's language."""
    documents = call.services.documents
    found = await documents.get_by_link(call.path_id("id", "ses"), token=call.path["token"])
    for one in found.documents:
        buyer = one.document.charged.buyer
        if one.document.name == call.path["number"] and buyer is not None:
            content = await documents.driver_pdf(
                one, language=language_of(buyer.details, buyer.country), meter=found.meter
            )
            shown = f'attachment; filename="{one.document.name}.pdf"'
            return ApiResponse(
                body=content, headers={"Content-Type": "application/pdf", "Content-Disposition": shown}
            )
    raise ProblemError(problems.NOT_FOUND, "There is no such document.")


def form_page(given: Mapping[str, str], faults: Mapping[str, str]) -> str:
    """The form with what was given, and beside each field what is expected where it is wrong."""
    fields = "".join(_field(*one, given=given, faults=faults) for one in _FIELDS)
    wrong = [label for name, label, *_ in _FIELDS if name in faults]
    alert = f"<p role='alert'>Please correct: {escape(', '.join(wrong))}.</p>" if wrong else ""
    return pages.html_page(
        "Invoice to a company",
        [
            "<h1>Invoice to a company</h1>",
            "<p>The invoice of this session is written to the company that you name. Name it once.</p>",
            alert,
            f"<form method='post'>{fields}<button>Request the invoice</button></form>",
        ],
    )


def _field(
    name: str,
    label: str,
    autocomplete: str,
    must: bool,  # noqa: FBT001 - a row of the table above
    expected: str,
    *,
    given: Mapping[str, str],
    faults: Mapping[str, str],
) -> str:
    hint, described = "", ""
    if name in faults:
        text = faults[name] or expected
        hint = f"<p id='{name}-fault'>Expected: {escape(text)}.</p>"
        described = f" aria-invalid='true' aria-describedby='{name}-fault'"
    optional = "" if must else " <span class='dim'>(optional)</span>"
    required = " required" if must else ""
    value = escape(given.get(name, ""))
    attributes = f"value='{value}' autocomplete='{autocomplete}'{required}{described}"
    return (
        f"<label for='{name}'>{escape(label)}{optional}</label>"
        f"<input id='{name}' name='{name}' {attributes}>{hint}"
    )


def invoice_page(documents: Sequence[ReadDocument], *, path: str) -> str:
    """The documents of a company with their sums and links."""
    if not documents:
        return _note("The invoice follows once the session is settled. Keep the address of this page.")
    rows = "".join(
        f"<tr><td><a href='{escape(path)}/{escape(one.document.name)}'>{escape(one.document.name)}</a></td>"
        f"<td>{escape(_kind(one))}</td><td>{one.document.issued_on}</td><td>{escape(_amount(one))}</td></tr>"
        for one in documents
    )
    return pages.html_page(
        "Your invoice",
        [
            "<h1>Your invoice</h1>",
            f"<table><tr><th>Document</th><th>Kind</th><th>Date</th><th>Total</th></tr>{rows}</table>",
            "<p class='dim'>Keep the address of this page: a later correction appears here too.</p>",
        ],
    )


def _kind(one: ReadDocument) -> str:
    gives_back = one.document.supply.gives_back
    if one.document.is_invoice:
        return "credit note" if gives_back else "invoice"
    return "refund receipt" if gives_back else "receipt"


def _amount(one: ReadDocument) -> str:
    supply = one.document.supply
    return f"{to_major(supply.net_minor + supply.vat_minor, supply.currency)} {supply.currency}"


def _note(text: str) -> str:
    return pages.html_page(
        "Invoice to a company", ["<h1>Invoice to a company</h1>", f"<p role='alert'>{escape(text)}</p>"]
    )


def _closed(obstacle: NamingObstacle) -> ApiResponse:
    return _page(_note(_OBSTACLES[obstacle]), status=_CONFLICT)


def _page(html: str, *, status: int = 200) -> ApiResponse:
    return ApiResponse(body=html.encode(), status=status, headers=dict(_HEADERS))


def _read(raw: bytes) -> dict[str, str]:
    """The fields that a browser sent, without the spaces around them; what is no form has none."""
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except (ValueError, UnicodeError):
        return {}
    known = {name for name, *_ in _FIELDS}
    return {name: text.strip() for name, text in pairs if name in known}


def _body(given: Mapping[str, str]) -> dict[str, object]:
    address = {name: given.get(name, "") for name in _ADDRESS}
    address["country"] = address["country"].upper()
    body: dict[str, object] = {"name": given.get("name", ""), "address": address}
    return body | {name: given[name] for name in ("vat_id", "reference") if given.get(name)}


def _faults(error: ValidationError) -> dict[str, str]:
    """Field by field; the words beside it are the form's own."""
    return {str(one["loc"][-1]): "" for one in error.errors(include_url=False, include_input=False)}


_LINK: Final = "/v1/receipts/{id}/{token:[A-Za-z0-9_-]{16,64}}/buyer"
_INVOICE: Final = "/v1/invoices/{id}/{token:[A-Za-z0-9_-]{16,64}}"
ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/buyer-link",
        operation="createBuyerLink",
        summary="Create a link to name the buyer of a session",
        description="For the driver: a page without a key on which to name, once, the company that the "
        "session's invoice is written to, within 90 days. The same link each time.",
        tag="Documents",
        handler=create_link,
        answers={200: BuyerLinkSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path=_LINK,
        operation="getBuyerPage",
        summary="Get the page to name the buyer of a session",
        description="A form for the driver, from the receipt's link or `createBuyerLink`.",
        tag="Documents",
        public=True,
        handler=show_form,
        answers={200: None},
        also_gives=("text/html",),
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path=_LINK,
        operation="nameBuyer",
        summary="Name the buyer of a session by its link",
        description="The page's form: 303 to the invoice's page, or the form again with what is wrong.",
        tag="Documents",
        public=True,
        handler=name_company,
        media_type=_FORM,
        answers={303: None, 400: None, 409: None},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path=_INVOICE,
        operation="getNamedInvoices",
        summary="Get the page of the documents in the named buyer's name",
        description="For whoever named the buyer by the link.",
        tag="Documents",
        public=True,
        handler=show_invoice,
        answers={200: None},
        also_gives=("text/html",),
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path=_INVOICE + "/{number:[A-Za-z0-9._-]{1,100}}",
        operation="getNamedInvoice",
        summary="Get a document in the named buyer's name",
        description="As PDF; an invoice carries its CII (Factur-X).",
        tag="Documents",
        public=True,
        handler=get_file,
        answers={200: None},
        also_gives=("application/pdf",),
        problems=(problems.NOT_FOUND,),
    ),
)
