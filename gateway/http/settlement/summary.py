"""The house in a few figures, and the proof that they are right; for the platform.

Owns: the wire form. Must not know how a figure is summed or a proof is made.
"""

from typing import Final, Literal

from pydantic import Field

from clearing.results import AuditReport, Summary
from gateway import objects
from gateway.database import transaction
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel


class SummaryQuery(QueryModel):
    """With or without the proof, which reads the whole ledger."""

    audit: bool = True


class Amount(objects.PublicObject):
    """Minor units of a currency."""

    currency: objects.Currency
    amount: objects.Minor


class VatLine(Amount):
    """VAT of sales in a tax territory."""

    territory: str


class ShareLine(Amount):
    """What a party earned, paid or not."""

    party: str


class FxLine(objects.PublicObject):
    """What went through one position: sold of the base, bought of the quote currency, minor units."""

    base: objects.Currency
    quote: objects.Currency
    sold: objects.Minor
    bought: objects.Minor


class ProofLine(objects.PublicObject):
    """The proof of one currency, minor units: `difference` is 0, or something is wrong."""

    currency: objects.Currency
    captured: objects.Minor
    received: objects.Minor
    input_vat: objects.Minor
    output_vat: objects.Minor
    platform: objects.Minor
    paid: objects.Minor
    open: objects.Minor
    fx_sold: objects.Minor
    fx_bought: objects.Minor
    other: objects.Minor
    difference: objects.Minor


class FindingOut(objects.PublicObject):
    """One thing that is wrong."""

    check: str
    subject: str
    detail: str


class AuditOut(objects.PublicObject):
    """The proof recomputed from the stored rows."""

    ok: bool
    proof: list[ProofLine]
    findings: list[FindingOut]
    checks: dict[str, int] = Field(description="how many records each check looked at")
    audited_at: objects.Instant


class SummaryOut(objects.PublicObject):
    """The books in a few figures."""

    object: Literal["summary"] = "summary"
    captured: list[Amount]
    vat: list[VatLine]
    shares: list[ShareLine]
    platform_fees: list[Amount]
    psp_fees: list[Amount]
    paid: list[Amount]
    open_payables: list[Amount]
    fx: list[FxLine]
    sessions_cleared: int
    sessions_parked: int
    audit: AuditOut | None


async def get(call: Call) -> Answer:
    """Summary and audit of one snapshot."""
    services = call.services
    audit = None
    async with transaction(services.pool, isolation="repeatable_read") as connection:
        summary = await services.clearing.summary(connection)
        if call.query.audit:
            audit = _audit(await services.clearing.audit(connection, now=services.now()))
    return Answer(body=_summary(summary, audit))


def _amounts(totals: object) -> list[Amount]:
    pairs = sorted(dict(totals).items())  # type: ignore[call-overload]
    return [Amount(currency=currency, amount=minor) for currency, minor in pairs]


def _summary(summary: Summary, audit: AuditOut | None) -> SummaryOut:
    return SummaryOut(
        captured=_amounts(summary.captured),
        vat=[
            VatLine(territory=territory, currency=currency, amount=minor)
            for (territory, currency), minor in sorted(summary.vat_by_territory.items())
        ],
        shares=[
            ShareLine(party=party, currency=currency, amount=minor)
            for (party, currency), minor in sorted(summary.share_by_party.items())
        ],
        platform_fees=_amounts(summary.platform_fee),
        psp_fees=_amounts(summary.psp_fee),
        paid=_amounts(summary.paid),
        open_payables=_amounts(summary.open_payables),
        fx=[
            FxLine(base=total.base, quote=total.quote, sold=total.sold_minor, bought=total.bought_minor)
            for total in summary.fx
        ],
        sessions_cleared=summary.sessions_cleared,
        sessions_parked=summary.sessions_parked,
        audit=audit,
    )


def _audit(report: AuditReport) -> AuditOut:
    return AuditOut(
        ok=report.ok,
        proof=[
            ProofLine(
                currency=line.currency,
                captured=line.captured_minor,
                received=line.received_minor,
                input_vat=line.input_vat_minor,
                output_vat=line.output_vat_minor,
                platform=line.platform_minor,
                paid=line.paid_minor,
                open=line.open_minor,
                fx_sold=line.fx_sold_minor,
                fx_bought=line.fx_bought_minor,
                other=line.other_minor,
                difference=line.difference_minor,
            )
            for line in report.proof
        ],
        findings=[
            FindingOut(check=one.check, subject=one.subject, detail=one.detail) for one in report.findings
        ],
        checks=dict(report.checks),
        audited_at=report.audited_at,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/summary",
        operation="getSummary",
        summary="The books in a few figures, with their proof",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=get,
        query=SummaryQuery,
        answers={200: SummaryOut},
    ),
)
