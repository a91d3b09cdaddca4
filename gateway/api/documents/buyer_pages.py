"""The pages on which a driver names the company that buys a session, and finds its invoice. They need no key.

Owns: paths, the form, what it says of bad input. Must not know: VAT, what a document shows. A page runs no
script, and reads in the driver's language. Whoever has the link of the receipt may name a company, once; the
documents are behind another link, which only the one who named it gets: the receipt's link is known to the
station's operator too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from clearing.documents.driver_document_service import ReadDocument
from clearing.errors import ClearingError, InvalidPartyError, UnclearableError
from clearing.language import Language, texts
from clearing.money import to_major
from clearing.parties.business_details import language_of
from gateway.api import pages, problems
from gateway.api.capture.buyers import BuyerBody, buyer_party
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel
from gateway.api.problems import ProblemError
from gateway.card_numbers import holds_card_number
from gateway.driver_page.languages import choose_language
from gateway.ids import format_id
from gateway.partners.buyer_service import NamingObstacle
from gateway.schemas import api_schemas

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 20
_BAD_INPUT, _CONFLICT, _SEE_OTHER = 400, 409, 303
_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"{pages.HEADERS['Content-Security-Policy']}; form-action 'self'",
    "Cache-Control": "private, no-store",
    "X-Robots-Tag": "noindex",
}
# Name, autocomplete, whether it must be given.
_FIELDS: Final = (
    ("name", "organization", True),
    ("street", "street-address", True),
    ("post_code", "postal-code", False),
    ("town", "address-level2", True),
    ("country", "country", True),
    ("vat_id", "off", False),
    ("reference", "off", False),
)
_ADDRESS: Final = ("street", "post_code", "town", "country")
_OBSTACLES: Final = {
    NamingObstacle.NAMED: "named",
    NamingObstacle.TOO_LATE: "too_late",
    NamingObstacle.CANCELLED: "cancelled",
}


class PageLanguageQuery(QueryModel):
    """The language of a page; without one it is the best that the browser accepts."""

    lang: Annotated[str, Field(max_length=16)] | None = Field(
        None, description="the page's language (en, de, fr, it), in place of Accept-Language"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTexts:
    """The texts of one language, and where the page is."""

    language: Language
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: str) -> str:
        """A text with its values in place."""
        return self.texts[key].format(**values)


def texts_in(language: Language) -> PageTexts:
    """The texts of the pages in a language."""
    return PageTexts(language=language, texts=texts("gateway.api.documents", language))


def _texts(call: ApiRequest) -> PageTexts:
    """In the language that the driver chose, else the best that the browser accepts."""
    return texts_in(choose_language(call.query.lang, call.headers.get("Accept-Language", "")))


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
    t = _texts(call)
    return _page(form_page({}, {}, t)) if found is None else _closed(found, t)


async def name_company(call: ApiRequest) -> ApiResponse:
    """Name the company: on to its invoice, or the form again with what is wrong."""
    session_id, token = call.path_id("id", "ses"), call.path["token"]
    given, t = _read(call.raw), _texts(call)
    faults = {name: t("expected_no_card") for name, text in given.items() if holds_card_number(text)}
    if faults:
        return _page(form_page({}, faults, t), status=_BAD_INPUT)
    try:
        body = BuyerBody.model_validate_json(json.dumps(_body(given)))
        buyer = buyer_party(body, buyer_id=format_id("buy", call.resource_id))
        found = await call.services.buyers.name_by_link(session_id, buyer, token=token)
    except ValidationError as error:
        return _page(form_page(given, _faults(error), t), status=_BAD_INPUT)
    except InvalidPartyError:
        fault = {"vat_id": t("expected_registered_vat_id")}
        return _page(form_page(given, fault, t), status=_BAD_INPUT)
    except UnclearableError as error:
        if error.reason != "unknown_tax_jurisdiction":
            return _page(_not_issued(error, t), status=_CONFLICT)
        fault = {"country": t("expected_known_country")}
        return _page(form_page(given, fault, t), status=_BAD_INPUT)
    except ClearingError as error:
        return _page(_not_issued(error, t), status=_CONFLICT)
    if isinstance(found, NamingObstacle):
        return _closed(found, t)
    location = f"/v1/invoices/{format_id('ses', session_id)}/{found.token}?lang={t.language.value}"
    return ApiResponse(body=b"", status=_SEE_OTHER, headers={**_HEADERS, "Location": location})


async def show_invoice(call: ApiRequest) -> ApiResponse:
    """The documents in the company's name, each as PDF."""
    session_id, token = call.path_id("id", "ses"), call.path["token"]
    found = await call.services.documents.get_by_link(session_id, token=token)
    path = f"/v1/invoices/{format_id('ses', session_id)}/{token}"
    return _page(invoice_page(found.documents, _texts(call), path=path))


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


def form_page(given: Mapping[str, str], faults: Mapping[str, str], t: PageTexts) -> str:
    """The form with what was given, and beside each field what is expected where it is wrong."""
    fields = "".join(_field(*one, given=given, faults=faults, t=t) for one in _FIELDS)
    button = f"<button>{escape(t('send'))}</button>"
    wrong = [t(name) for name, *_ in _FIELDS if name in faults]
    alert = f"<p role='alert'>{escape(t('correct', fields=', '.join(wrong)))}</p>" if wrong else ""
    return _html(
        t("title"),
        [
            f"<p>{escape(t('intro'))}</p>",
            alert,
            f"<form method='post' action='?lang={t.language.value}'>{fields}{button}</form>",
        ],
        t,
    )


def _field(
    name: str,
    autocomplete: str,
    must: bool,  # noqa: FBT001 - a row of the table above
    *,
    given: Mapping[str, str],
    faults: Mapping[str, str],
    t: PageTexts,
) -> str:
    hint, described = "", ""
    if name in faults:
        expected = faults[name] or t(f"expected_{name}")
        hint = f"<p id='{name}-fault'>{escape(t('expected', what=expected))}</p>"
        described = f" aria-invalid='true' aria-describedby='{name}-fault'"
    optional = "" if must else f" <span class='dim'>{escape(t('optional'))}</span>"
    required = " required" if must else ""
    value = escape(given.get(name, ""))
    attributes = f"value='{value}' autocomplete='{autocomplete}'{required}{described}"
    return (
        f"<label for='{name}'>{escape(t(name))}{optional}</label>"
        f"<input id='{name}' name='{name}' {attributes}>{hint}"
    )


def invoice_page(documents: Sequence[ReadDocument], t: PageTexts, *, path: str) -> str:
    """The documents of a company with their sums and links."""
    if not documents:
        return _note(t("follows"), t)
    rows = "".join(
        f"<tr><td><a href='{escape(path)}/{escape(one.document.name)}'>{escape(one.document.name)}</a></td>"
        f"<td>{escape(t(_kind(one)))}</td><td>{one.document.issued_on}</td>"
        f"<td>{escape(_amount(one))}</td></tr>"
        for one in documents
    )
    head = "".join(f"<th>{escape(t(name))}</th>" for name in ("document", "kind", "date", "total"))
    return _html(
        t("your_invoice"),
        [f"<table><tr>{head}</tr>{rows}</table>", f"<p class='dim'>{escape(t('keep'))}</p>"],
        t,
    )


def _kind(one: ReadDocument) -> str:
    gives_back = one.document.supply.gives_back
    if one.document.is_invoice:
        return "credit_note" if gives_back else "invoice"
    return "refund_receipt" if gives_back else "receipt"


def _amount(one: ReadDocument) -> str:
    supply = one.document.supply
    return f"{to_major(supply.net_minor + supply.vat_minor, supply.currency)} {supply.currency}"


def _note(text: str, t: PageTexts) -> str:
    return _html(t("title"), [f"<p role='alert'>{escape(text)}</p>"], t)


def _not_issued(error: ClearingError, t: PageTexts) -> str:
    reason = f"{t('not_issued')} <span lang='en'>{escape(str(error))}.</span>"
    return _html(t("title"), [f"<p role='alert'>{reason}</p>"], t)


def _closed(obstacle: NamingObstacle, t: PageTexts) -> ApiResponse:
    return _page(_note(t(_OBSTACLES[obstacle]), t), status=_CONFLICT)


def _html(title: str, body: Sequence[str], t: PageTexts) -> str:
    """A page under its title, with the switch of languages."""
    links = " · ".join(
        f"<b lang='{one.value}'>{escape(texts_in(one)('language'))}</b>"
        if one is t.language
        else f"<a href='?lang={one.value}' lang='{one.value}' hreflang='{one.value}'>"
        f"{escape(texts_in(one)('language'))}</a>"
        for one in Language
    )
    switch = f"<nav aria-label='{escape(t('languages'))}'><p>{links}</p></nav>"
    return pages.html_page(
        title, [f"<main><h1>{escape(title)}</h1>", *body, "</main>", switch], language=t.language.value
    )


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
        query=PageLanguageQuery,
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
        query=PageLanguageQuery,
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
        query=PageLanguageQuery,
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
