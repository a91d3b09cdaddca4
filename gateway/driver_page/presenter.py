"""What the driver page's templates are filled with: texts and figures in the driver's language.

Owns: which facts are shown at which stage, and how figures are written. Must not know: HTML, HTTP, storage.
Every value is text; the templates escape it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from clearing.documents.driver_document_service import ReadDocument
from clearing.language import Language
from clearing.meter_data.evidence import MeterEvidence
from clearing.meter_data.findings import MeterVerdict
from clearing.money import exponent, to_major
from clearing.pricing.translations import number_text, translations_for
from gateway.driver_page.languages import texts_of
from gateway.driver_page.offers import Offer
from gateway.driver_page.service import DriverPayment
from gateway.driver_page.stages import FINAL_STAGES, MOVING_STAGES, WAITING_STAGES, Stage, may_cancel
from gateway.ocpi.repository.public_evses import ListedConnector
from gateway.payments.psp.rules import DeclineAdvice

_IN_USE: Final = frozenset({"CHARGING", "BLOCKED", "RESERVED"})
_STANDARDS: Final = {
    "IEC_62196_T2_COMBO": "CCS",
    "IEC_62196_T1_COMBO": "CCS 1",
    "IEC_62196_T2": "Type 2",
    "IEC_62196_T1": "Type 1",
    "CHADEMO": "CHAdeMO",
    "MCS": "MCS",
}
_WATTS_PER_KW: Final = Decimal(1000)
_COST_STAGES: Final = frozenset({Stage.CHARGING, Stage.STOPPING, Stage.ENDED, Stage.PLUG_IN, Stage.STARTING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """What a driver may download of a session that was paid: documents, and what its meter signed."""

    documents: Sequence[ReadDocument] = ()
    meter: MeterEvidence | None = None
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure of the page; `name` lets the page's script update its value in place."""

    name: str
    label: str
    value: str


def offer_context(offer: Offer, language: Language) -> dict[str, Any]:
    """The page before paying."""
    texts = texts_of(language)
    evse = None if offer.entry is None else offer.entry.evse
    prices = [_price_parts(text) for text in offer.prices]
    return {
        "evse_id": offer.evse_id if evse is None else evse.evse_id or evse.evse_uid,
        "brand": offer.page.brand,
        "support": offer.page.support,
        "operator": offer.point.cpo_id if evse is None else evse.operator_name or evse.party_id,
        "place": [] if evse is None else _place(evse.name, evse.address, evse.postal_code, evse.city),
        "connectors": []
        if offer.entry is None
        else [_connector(one, texts) for one in offer.entry.connectors],
        "headline": prices[0] if prices else None,
        "others": prices[1:],
        "vat": texts["vat_included"] if _says_no_tax(offer, language) else None,
        "hold": money(offer.hold_minor, offer.currency, locale=f"{language}-{offer.point.country}"),
        "warning": _warning(offer, texts),
        "usable": offer.usable,
        "tariff": offer.tariff_sha256,
    }


def payment_context(
    payment: DriverPayment, papers: Papers, language: Language, *, advice: DeclineAdvice
) -> dict[str, Any]:
    """The part of a payment's page that changes by itself."""
    texts, stage = texts_of(language), payment.stage
    return {
        "stage": stage.value,
        "heading": texts[f"stage_{stage}"],
        "text": texts[f"stage_{stage}_text"],
        "reason": _reason(payment, texts, advice),
        "figures": _figures(payment, texts, language),
        "as_of": _as_of(payment, texts),
        "bank_url": payment.bank_url if stage in WAITING_STAGES else None,
        "bank_label": texts["to_page" if stage is Stage.AT_PSP else "to_bank"],
        "cancel_label": texts["cancel_page" if stage is Stage.AT_PSP else "cancel"],
        "may_cancel": may_cancel(payment.facts),
        "may_start": stage is Stage.START_FAILED,
        "may_stop": stage is Stage.CHARGING,
        "may_pay": stage in {Stage.UNPAID, Stage.LAPSED, Stage.DECLINED, Stage.RELEASED},
        "another_card": stage is Stage.DECLINED,
        "released": stage in {Stage.RELEASED, Stage.FREE},
        "lines": list(papers.lines),
        "documents": _documents(papers, texts) if stage is Stage.PAID else [],
        "receipt_awaited": stage is Stage.PAID and not papers.documents,
        "meter": _meter(papers.meter, texts, language) if stage in {Stage.PAID, Stage.FREE} else None,
        "company": _company(payment),
        "moving": is_moving(payment, papers),
    }


def is_moving(payment: DriverPayment, papers: Papers) -> bool:
    """Whether the page is about to change by itself."""
    return payment.stage in MOVING_STAGES or (payment.stage is Stage.PAID and not papers.documents)


def money(minor: int, currency: str, *, locale: str) -> str:
    """An amount with its currency, as the language writes it."""
    amount = to_major(minor, currency)
    return f"{number_text(amount, translations_for(locale), least_digits=exponent(currency))} {currency}"


def _place(*parts: str | None) -> list[str]:
    name, address, postal_code, city = parts
    town = " ".join(part for part in (postal_code, city) if part)
    return [part for part in (name, ", ".join(part for part in (address, town) if part)) if part]


def _connector(connector: ListedConnector, texts: Mapping[str, str]) -> str:
    parts = [_STANDARDS.get(connector.standard or "", (connector.standard or "").replace("_", " "))]
    if connector.format in {"CABLE", "SOCKET"}:
        parts.append(texts[connector.format.lower()])
    if connector.max_power_w:
        kw = format((Decimal(connector.max_power_w) / _WATTS_PER_KW).normalize(), "f")
        parts.append(texts["up_to_kw"].format(kw=kw))
    return ", ".join(part for part in parts if part)


def _price_parts(text: str) -> tuple[str, str]:
    """A price component: the price that is read first, and what is said of it."""
    price, bracket, rest = text.partition(" (")
    if bracket:
        return price, f"({rest}"
    price, comma, rest = text.partition(", ")
    return price, rest if comma else ""


def _says_no_tax(offer: Offer, language: Language) -> bool:
    """Whether no price says anything of tax: then it is what is charged."""
    extra = translations_for(language).tax_extra
    return not any("%" in text or extra in text for text in offer.prices)


def _warning(offer: Offer, texts: Mapping[str, str]) -> str | None:
    if not offer.usable:
        return texts["out_of_order"]
    in_use = offer.entry is not None and offer.entry.evse.status in _IN_USE
    return texts["in_use"] if in_use else None


def _reason(payment: DriverPayment, texts: Mapping[str, str], advice: DeclineAdvice) -> str | None:
    if payment.stage is Stage.DECLINED:
        return texts[f"advice_{advice}"]
    released = payment.record.released_because
    unheld = payment.stage in {Stage.LAPSED, Stage.RELEASED}
    return texts[f"released_{released}"] if unheld and released else None


def _figures(payment: DriverPayment, texts: Mapping[str, str], language: Language) -> list[Figure]:
    view = payment.session
    if view is None or view.authorization is None:
        return []
    session, stage = view.session, payment.stage
    locale = _locale(payment, language)
    held = Figure(
        name="held",
        label=texts["held"],
        value=money(view.authorization.hold_minor, session.currency, locale=locale),
    )
    if stage is Stage.AT_PSP:  # nothing is held yet
        return [replace(held, label=texts["to_hold"])]
    if stage in {Stage.CONFIRM, Stage.CHECKING, Stage.START_FAILED}:
        return [held]
    found = _usage(payment, texts, locale)
    if stage is Stage.PAID and view.capture is not None:
        paid = money(view.capture.amount_minor, session.currency, locale=locale)
        found.insert(0, Figure(name="total", label=texts["total"], value=paid))
        if view.capture.refunded_minor:
            back = money(view.capture.refunded_minor, session.currency, locale=locale)
            found.append(Figure(name="refunded", label=texts["refunded"], value=back))
    return [*found, held] if stage in _COST_STAGES else found


def _usage(payment: DriverPayment, texts: Mapping[str, str], locale: str) -> list[Figure]:
    """Energy, duration and cost so far; in the stages before, nothing where nothing was reported."""
    cost, stage = payment.cost, payment.stage
    if stage in {Stage.DECLINED, Stage.LAPSED, Stage.RELEASED, Stage.UNPAID} or payment.session is None:
        return []
    session = payment.session.session
    waiting = stage in {Stage.CHARGING, Stage.STOPPING}
    if cost is None:
        missing = texts["not_reported"]
        return (
            [
                Figure(name="energy", label=texts["energy"], value=missing),
                Figure(name="cost", label=texts["cost"], value=missing),
            ]
            if waiting
            else []
        )
    kwh = (Decimal(cost.energy_wh) / _WATTS_PER_KW).quantize(Decimal("0.001"))
    found = [
        Figure(
            name="energy",
            label=texts["energy"],
            value=f"{number_text(kwh, translations_for(locale), least_digits=1)} kWh",
        )
    ]
    if session.started_at is not None:
        found.append(
            Figure(
                name="duration",
                label=texts["duration"],
                value=_duration((session.ended_at or cost.as_of) - session.started_at),
            )
        )
    if stage in _COST_STAGES:
        shown = money(cost.amount_minor, session.currency, locale=locale)
        found.insert(0, Figure(name="cost", label=texts["cost"], value=shown))
    return found


def _duration(lasted: timedelta) -> str:
    minutes = max(0, int(lasted.total_seconds()) // 60)
    return f"{minutes // 60}:{minutes % 60:02} h"


def _as_of(payment: DriverPayment, texts: Mapping[str, str]) -> str | None:
    if payment.cost is None or payment.session is None or payment.stage in FINAL_STAGES:
        return None
    zone = ZoneInfo(payment.session.session.time_zone)
    return texts["as_of"].format(time=_clock(payment.cost.as_of, zone))


def _clock(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%H:%M")


def _documents(papers: Papers, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """The label and the name of each document."""
    return [
        (
            texts["credit_note_pdf" if one.document.supply.gives_back else "receipt_pdf"],
            one.document.name,
        )
        for one in papers.documents
    ]


def _meter(
    meter: MeterEvidence | None, texts: Mapping[str, str], language: Language
) -> dict[str, Any] | None:
    verdict = MeterVerdict.MISSING if meter is None else meter.check.verdict
    shown: dict[str, Any] = {"verdict": verdict.value, "text": texts[f"meter_{verdict}"], "reading": None}
    shown["file"] = meter is not None and bool(meter.check.records)
    measured = None if meter is None else meter.check.measured
    if measured is not None:
        begin, end = (
            f"{number_text(one.value or Decimal(0), translations_for(language))} {one.unit or ''}".strip()
            for one in (measured.begin, measured.end)
        )
        shown["reading"] = texts["meter_reading"].format(serial=measured.meter_serial, begin=begin, end=end)
    return shown


def _company(payment: DriverPayment) -> str | None:
    """Whether a company may be named (`open`) or is (`set`); None at stages without an invoice."""
    if payment.session is None or payment.stage in {
        Stage.AT_PSP,
        Stage.LAPSED,
        Stage.CONFIRM,
        Stage.CHECKING,
        Stage.DECLINED,
        Stage.RELEASED,
        Stage.FREE,
        Stage.NOT_COLLECTED,
        Stage.UNPAID,
    }:
        return None
    return "open" if payment.buyer_id is None else "set"


def _locale(payment: DriverPayment, language: Language) -> str:
    """The language with the country of the EVSE, for the decimal separator."""
    country = "" if payment.session is None else payment.session.session.tax_jurisdiction[:2]
    return f"{language}-{country}" if country else str(language)
