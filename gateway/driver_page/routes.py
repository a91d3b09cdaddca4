"""The driver page's addresses: /c/{evse} before paying, /charge/{token} from then on.

Owns: parsing a request, one call of a service, the page or the way to it. Must not know: payments' rules.
A form is answered by 303 to the payment's page, so that reloading sends nothing twice.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from clearing.errors import ClearingError, InvalidPartyError, InvalidVatIdError
from clearing.language import Language
from clearing.pricing.explain import receipt
from gateway.driver_page import presenter
from gateway.driver_page.buyers import FIELDS, buyer_fields, buyer_of, field_of, wrong_fields
from gateway.driver_page.errors import (
    NoDriverPageError,
    NotPossibleError,
    PriceChangedError,
    TooManyPaymentsError,
)
from gateway.driver_page.languages import choose_language, texts_of
from gateway.driver_page.offers import Offer
from gateway.driver_page.presenter import Papers
from gateway.driver_page.rendering import STATIC, html, render, static_file
from gateway.driver_page.service import TOKEN_LENGTH, DriverPayment, PaymentBegun, PayRequest
from gateway.driver_page.services import DriverPageServices
from gateway.driver_page.stages import WAITING_STAGES, Stage
from gateway.driver_page.visits import (
    CHARGE,
    PAYMENT,
    check_origin,
    evse_path,
    frame_of,
    guarded,
    language_of,
)
from gateway.errors import RecordConflictError
from gateway.live_streams import LiveLook, LiveStreams
from gateway.ocpi.connectors import evse_key
from gateway.payments.errors import PaymentError
from gateway.payments.psp.port import HOSTED_PAGE

_EVSE: Final = f"{CHARGE}/{{evse:[!-.0-~]{{1,64}}}}"  # as in the API: printable, without a slash
_TOKEN: Final = f"{PAYMENT}/{{token:[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}}}"
_METHOD: Final = re.compile(r"pm_[A-Za-z0-9_]{1,250}")
_TOKEN_TEXT: Final = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}")
_TOKEN_BYTES: Final = 32
_MOST_BODY: Final = 8_192
_BANK_EVERY: Final = 3  # looks: while a bank is asked, the PSP is read this often
_WAITS: Final = {
    "name": "organization",
    "street": "street-address",
    "postal_code": "postal-code",
    "city": "address-level2",
    "country": "country",
    "vat_id": "off",
    "reference": "off",
}
_BAD_REQUEST: Final = 400
_CONFLICT: Final = 409
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
_UNPROCESSABLE: Final = 422


def driver_page_routes(services: DriverPageServices) -> list[web.RouteDef]:
    """Every address of the page."""
    page = _DriverPage(services=services, streams=LiveStreams(services.live_seconds))

    def looking(handler: Any) -> Any:
        return guarded(services, handler, looks=True)

    def holding(handler: Any) -> Any:
        return guarded(services, handler, looks=False)

    return [
        web.get(f"{STATIC}/{{name}}", page.file),
        web.get(_EVSE, looking(page.offer)),
        web.post(f"{_EVSE}/pay", looking(page.pay)),
        web.post(f"{_EVSE}/hosted-page", looking(page.pay_at_psp)),
        web.get(_TOKEN, holding(page.payment)),
        web.get(f"{_TOKEN}/return", holding(page.returned)),
        web.get(f"{_TOKEN}/live", holding(page.live)),
        web.get(f"{_TOKEN}/events", holding(page.events)),
        web.post(f"{_TOKEN}/start", holding(page.start)),
        web.post(f"{_TOKEN}/stop", holding(page.stop)),
        web.post(f"{_TOKEN}/cancel", holding(page.cancel)),
        web.post(f"{_TOKEN}/company", holding(page.company)),
        web.get(f"{_TOKEN}/receipt.pdf", holding(page.receipt)),
        web.get(f"{_TOKEN}/meter-data.xml", holding(page.meter_data)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _DriverPage:
    services: DriverPageServices
    streams: LiveStreams

    async def file(self, request: web.Request) -> web.Response:
        found = static_file(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return found

    async def offer(self, request: web.Request) -> web.Response:
        """The price, and the form to pay."""
        language = language_of(request)
        offer = await self._offer(request.match_info["evse"], request.query.get("cpo"), language)
        return self._offer_page(request, offer, language)

    async def pay(self, request: web.Request) -> web.Response:
        """Pay by the card of the form: the same form twice is the same payment."""
        form = await _form(request)
        begun = await self._begin(request, form, form.get("payment_method", ""))
        if isinstance(begun, web.Response):
            return begun
        return _see_other(f"{PAYMENT}/{begun.token}?follow=1&lang={_language_in(request, form)}")

    async def pay_at_psp(self, request: web.Request) -> web.Response:
        """Pay on the PSP's page: it is led to, and no other host; from there the driver comes back."""
        form = await _form(request)
        begun = await self._begin(request, form, HOSTED_PAGE)
        if isinstance(begun, web.Response):
            return begun
        here = f"{PAYMENT}/{begun.token}?lang={_language_in(request, form)}"
        allowed = self.services.payments.psp.payers.page_sources.pages
        leads = begun.page_url is not None and _origin(begun.page_url) in allowed
        return _see_other(begun.page_url or here if leads else here)

    async def _begin(
        self, request: web.Request, form: dict[str, str], method: str
    ) -> PaymentBegun | web.Response:
        """Begin a payment; a response says why none was begun."""
        check_origin(request, base_url=self.services.base_url)
        language = _language_in(request, form)
        offer = await self._offer(request.match_info["evse"], form.get("cpo") or None, language)
        token, at_psp = form.get("token", ""), method == HOSTED_PAGE
        offered = bool(self.services.payments.psp.payers.page_sources.pages)
        known = offered if at_psp else _METHOD.fullmatch(method) is not None
        if not _TOKEN_TEXT.fullmatch(token) or not known or not offer.usable:
            return self._offer_page(request, offer, language, notice="not_paid_now", status=_BAD_REQUEST)
        self.services.paying.check(request)
        self.services.paying.count(request)
        asked = PayRequest(
            token=token,
            payment_method=method,
            tariff_sha256=form.get("tariff", ""),
            language=language.value,
            return_url=f"{self.services.base_url}{PAYMENT}",
        )
        try:
            return await self.services.driver_payments.pay(offer, asked)
        except PriceChangedError:
            return self._offer_page(request, offer, language, notice="price_changed", status=_CONFLICT)
        except TooManyPaymentsError:
            return self._offer_page(request, offer, language, notice="too_many", status=_TOO_MANY)
        except (NotPossibleError, PaymentError):
            return self._offer_page(request, offer, language, notice="not_paid_now", status=_UNAVAILABLE)

    async def payment(self, request: web.Request) -> web.Response:
        """A payment as it stands."""
        return await self._payment_page(request)

    async def returned(self, request: web.Request) -> web.Response:
        """Back from the bank or the PSP's page, paid or not.

        Without what the PSP put into the address, which holds a secret.
        """
        await self.services.driver_payments.read(request.match_info["token"], at_psp=True)
        return _see_other(f"{PAYMENT}/{request.match_info['token']}")

    async def live(self, request: web.Request) -> web.Response:
        """The part of the page that changes, for browsers without server-sent events."""
        look = await self._look(request, 0)
        return web.Response(text=look.html, content_type="text/html", headers={"Cache-Control": "no-store"})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """The same as server-sent events."""
        return await self.streams.run(request, lambda number: self._look(request, number))

    async def start(self, request: web.Request) -> web.Response:
        """Ask the operator to start once more."""
        token = request.match_info["token"]
        check_origin(request, base_url=self.services.base_url)
        return await self._acted(request, self.services.driver_payments.start_again(token))

    async def stop(self, request: web.Request) -> web.Response:
        """Ask the operator to stop."""
        token = request.match_info["token"]
        check_origin(request, base_url=self.services.base_url)
        return await self._acted(
            request, self.services.driver_payments.stop(token), notice="stop_not_possible"
        )

    async def cancel(self, request: web.Request) -> web.Response:
        """Release the hold."""
        token = request.match_info["token"]
        check_origin(request, base_url=self.services.base_url)
        return await self._acted(request, self.services.driver_payments.cancel(token))

    async def company(self, request: web.Request) -> web.Response:
        """Name the company that the invoice is for."""
        check_origin(request, base_url=self.services.base_url)
        fields = buyer_fields(await _form(request))
        payment = await self.services.driver_payments.read(request.match_info["token"])
        if payment.session is None:
            raise NotPossibleError("there is no session to invoice")
        wrong = wrong_fields(fields)
        if not wrong:
            language = self._language(request, payment)
            party_id = payment.record.party_id
            try:
                buyer = buyer_of(fields, token=payment.record.token, language=language)
                await self.services.buyers.create(buyer, party_id=party_id)
                await self.services.buyers.set_session_buyer(
                    payment.session.session.id, buyer.id, party_id=party_id
                )
            except (InvalidPartyError, InvalidVatIdError) as error:
                wrong = [field_of(error)]
            except (RecordConflictError, ClearingError):
                return await self._payment_page(request, notice="company_late", status=_CONFLICT)
        if wrong:
            return await self._payment_page(request, fields=fields, wrong=wrong, status=_UNPROCESSABLE)
        return _see_other(self._here(request))

    async def receipt(self, request: web.Request) -> web.Response:
        """A document of the session as PDF."""
        payment = await self.services.driver_payments.read(request.match_info["token"])
        papers = await self._papers(payment, self._language(request, payment))
        for one in papers.documents:
            if request.query.get("document") in {None, one.document.name}:
                content = await self.services.documents.driver_pdf(
                    one, language=self._language(request, payment), meter=papers.meter
                )
                return _download(content, "application/pdf", f"{one.document.name}.pdf")
        raise NotPossibleError("the session has no such document yet")

    async def meter_data(self, request: web.Request) -> web.Response:
        """What the meter signed, for the transparency software."""
        payment = await self.services.driver_payments.read(request.match_info["token"])
        if payment.session is None:
            raise NotPossibleError("there is no session")
        found = await self.services.documents.get_receipt(
            payment.session.session.id,
            party_id=payment.record.party_id,
            admin=False,
            with_documents=False,
        )
        if found.meter is None:
            raise NotPossibleError("no meter has signed the session")
        content = self.services.documents.meter_data_xml(found)
        return _download(content, "application/xml", "meter-data.xml")

    async def _offer(self, name: str, cpo_id: str | None, language: Language) -> Offer:
        if not evse_key(name) or not (cpo_id or "").isprintable():
            raise NoDriverPageError("an EVSE ID has letters or digits")
        return await self.services.offers.find(name, cpo_id=cpo_id, locale=language.value)

    def _offer_page(
        self,
        request: web.Request,
        offer: Offer,
        language: Language,
        *,
        notice: str | None = None,
        status: int = 200,
    ) -> web.Response:
        payers = self.services.payments.psp.payers
        form, at_psp = None, bool(payers.page_sources.pages)
        if (payers.publishable_key is not None or at_psp) and offer.usable:
            form = {
                "address": evse_path(offer.evse_id).partition("?")[0],
                "at_psp": at_psp,
                "script_url": payers.script_url,
                "key": payers.publishable_key,
                "token": secrets.token_urlsafe(_TOKEN_BYTES),
                "cpo": offer.point.cpo_id,
                "amount": payers.form_amount(offer.hold_minor, offer.currency),
                "currency": offer.currency.lower(),
                "wallets": payers.page_sources.wallets,
            }
        context = {
            **presenter.offer_context(offer, language),
            "form": form,
            "notice": None if notice is None else texts_of(language)[notice],
        }
        frame = frame_of(
            request,
            language,
            path=evse_path(offer.evse_id),
            brand=offer.page.brand,
            support=offer.page.support,
        )
        return html("offer.html", frame, context, status=status, sources=payers.page_sources)

    async def _payment_page(
        self,
        request: web.Request,
        *,
        notice: str | None = None,
        fields: dict[str, str] | None = None,
        wrong: list[str] | None = None,
        status: int = 200,
    ) -> web.Response:
        payment = await self.services.driver_payments.read(request.match_info["token"], at_psp=True)
        language = self._language(request, payment)
        context = {
            **await self._context(payment, language),
            "notice": None if notice is None else texts_of(language)[notice],
            "follow": request.query.get("follow") == "1" and payment.stage is Stage.CONFIRM,
            "evse_id": payment.record.evse_id,
            "company_inputs": list(_WAITS.items()),
            "company_fields": fields or dict.fromkeys(FIELDS, ""),
            "company_wrong": wrong or [],
            # Without script the form is a page of its own, which does not renew itself while one writes.
            "company_open": bool(wrong) or request.query.get("company") == "1",
        }
        page = payment.page
        frame = frame_of(
            request,
            language,
            path=f"{PAYMENT}/{payment.record.token}",
            brand="" if page is None else page.brand,
            support="" if page is None else page.support,
        )
        return html("payment.html", frame, context, status=status)

    async def _look(self, request: web.Request, number: int) -> LiveLook:
        at_psp = number % _BANK_EVERY == 0
        payment = await self.services.driver_payments.read(request.match_info["token"], at_psp=at_psp)
        if payment.stage in WAITING_STAGES and not at_psp:
            return LiveLook(html=None, moving=True)
        language = self._language(request, payment)
        context = await self._context(payment, language)
        moving = bool(context["moving"]) or payment.stage in WAITING_STAGES
        return LiveLook(html=render("live.html", frame_of(request, language), context), moving=moving)

    async def _context(self, payment: DriverPayment, language: Language) -> dict[str, Any]:
        view = payment.session
        code = None if view is None or view.authorization is None else view.authorization.decline_code
        papers = await self._papers(payment, language)
        return {
            **presenter.payment_context(
                payment, papers, language, advice=self.services.payments.psp.rules.advice(code)
            ),
            "base": f"{PAYMENT}/{payment.record.token}",
            "offer_url": evse_path(payment.record.evse_id, cpo=payment.record.cpo_id, lang=language.value),
        }

    async def _papers(self, payment: DriverPayment, language: Language) -> Papers:
        """What there is of a session that has ended; its documents are issued a little later."""
        if payment.session is None or payment.stage not in {Stage.PAID, Stage.FREE}:
            return Papers()
        session, party_id = payment.session.session, payment.record.party_id
        price = await self.services.payments.explain_price(party_id=party_id, session_id=session.id)
        lines = receipt(price.priced, locale=f"{language}-{session.tax_jurisdiction[:2]}")
        try:
            found = await self.services.documents.get_receipt(session.id, party_id=party_id, admin=False)
        except ClearingError:  # none is issued yet
            found = await self.services.documents.get_receipt(
                session.id, party_id=party_id, admin=False, with_documents=False
            )
        return Papers(documents=found.documents, meter=found.meter, lines=lines)

    async def _acted(self, request: web.Request, act: Any, *, notice: str = "not_possible") -> web.Response:
        try:
            await act
        except NotPossibleError:
            return await self._payment_page(request, notice=notice, status=_CONFLICT)
        return _see_other(self._here(request))

    def _here(self, request: web.Request) -> str:
        chosen = request.query.get("lang", "")
        known = chosen in list(Language)
        return f"{PAYMENT}/{request.match_info['token']}{f'?lang={chosen}' if known else ''}"

    def _language(self, request: web.Request, payment: DriverPayment) -> Language:
        chosen = request.query.get("lang", "")
        return Language(chosen) if chosen in list(Language) else Language(payment.record.language)


def _language_in(request: web.Request, form: dict[str, str]) -> Language:
    """The language of a form, else that of the browser."""
    return choose_language(form.get("lang"), request.headers.get("Accept-Language", ""))


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


async def _form(request: web.Request) -> dict[str, str]:
    """The fields of a form, short ones. Raises HTTPRequestEntityTooLarge."""
    length = request.content_length
    if length is None or length > _MOST_BODY:
        raise web.HTTPRequestEntityTooLarge(max_size=_MOST_BODY, actual_size=length or 0)
    found = await request.post()
    return {name: value for name, value in found.items() if isinstance(value, str) and "\x00" not in value}


def _see_other(address: str) -> web.Response:
    """After a form: the browser asks for the page, and reloading it sends nothing twice (RFC 9110 15.4.4)."""
    return web.Response(status=303, headers={"Location": address, "Referrer-Policy": "same-origin"})


def _download(content: bytes, kind: str, name: str) -> web.Response:
    return web.Response(
        body=content,
        content_type=kind,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
