"""The financial summary and its audit, for the platform.

Owns: the request and response schemas. Must not know: how a figure is summed or audited.
"""

from typing import Final, Literal

from pydantic import Field

from clearing.audit import AuditReport
from clearing.reporting.summary import Summary
from gateway import api_schemas
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel


class SummaryQuery(QueryModel):
    """With or without the audit, which reads the whole ledger."""

    audit: bool = True


class AmountSchema(api_schemas.PublicSchema):
    """Minor units of a currency."""

    currency: api_schemas.Currency
    amount: api_schemas.Minor


class VatLineSchema(AmountSchema):
    """VAT of sales in a tax jurisdiction."""

    tax_jurisdiction: str


class ShareLineSchema(AmountSchema):
    """What a party has earned, paid or not."""

    party: str


class FxLineSchema(api_schemas.PublicSchema):
    """The amounts of one position: sold in the base, bought in the quote currency, minor units."""

    base: api_schemas.Currency
    quote: api_schemas.Currency
    sold: api_schemas.Minor
    bought: api_schemas.Minor


class ProofLineSchema(api_schemas.PublicSchema):
    """The proof of one currency in minor units; a `difference` other than 0 is an error."""

    currency: api_schemas.Currency
    captured: api_schemas.Minor
    received: api_schemas.Minor
    input_vat: api_schemas.Minor
    output_vat: api_schemas.Minor
    platform: api_schemas.Minor
    paid: api_schemas.Minor
    open: api_schemas.Minor
    fx_sold: api_schemas.Minor
    fx_bought: api_schemas.Minor
    other: api_schemas.Minor
    difference: api_schemas.Minor


class AuditFindingSchema(api_schemas.PublicSchema):
    """One error that the audit found."""

    check: str
    subject: str
    detail: str


class AuditSchema(api_schemas.PublicSchema):
    """The audit, recomputed from the stored rows."""

    ok: bool
    proof: list[ProofLineSchema]
    findings: list[AuditFindingSchema]
    checks: dict[str, int] = Field(description="The number of records that each check read.")
    audited_at: api_schemas.Instant


class SummarySchema(api_schemas.PublicSchema):
    """The financial summary."""

    object: Literal["summary"] = "summary"
    captured: list[AmountSchema]
    vat: list[VatLineSchema]
    shares: list[ShareLineSchema]
    platform_fees: list[AmountSchema]
    psp_fees: list[AmountSchema]
    paid: list[AmountSchema]
    open_payables: list[AmountSchema]
    fx: list[FxLineSchema]
    sessions_cleared: int
    sessions_in_exception: int
    audit: AuditSchema | None


async def get(call: ApiRequest) -> ApiResponse:
    """The summary and its audit, from one snapshot."""
    summary, audit = await call.services.financial_reports.read_summary(with_audit=call.query.audit)
    return ApiResponse(body=_summary(summary, None if audit is None else _audit(audit)))


def _amounts(totals: object) -> list[AmountSchema]:
    pairs = sorted(dict(totals).items())  # type: ignore[call-overload]
    return [AmountSchema(currency=currency, amount=minor) for currency, minor in pairs]


def _summary(summary: Summary, audit: AuditSchema | None) -> SummarySchema:
    return SummarySchema(
        captured=_amounts(summary.captured),
        vat=[
            VatLineSchema(tax_jurisdiction=tax_jurisdiction, currency=currency, amount=minor)
            for (tax_jurisdiction, currency), minor in sorted(summary.vat_by_tax_jurisdiction.items())
        ],
        shares=[
            ShareLineSchema(party=party, currency=currency, amount=minor)
            for (party, currency), minor in sorted(summary.share_by_party.items())
        ],
        platform_fees=_amounts(summary.platform_fee),
        psp_fees=_amounts(summary.psp_fee),
        paid=_amounts(summary.paid),
        open_payables=_amounts(summary.open_payables),
        fx=[
            FxLineSchema(base=total.base, quote=total.quote, sold=total.sold_minor, bought=total.bought_minor)
            for total in summary.fx
        ],
        sessions_cleared=summary.sessions_cleared,
        sessions_in_exception=summary.sessions_in_exception,
        audit=audit,
    )


def _audit(report: AuditReport) -> AuditSchema:
    return AuditSchema(
        ok=report.ok,
        proof=[
            ProofLineSchema(
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
            AuditFindingSchema(check=one.check, subject=one.subject, detail=one.detail)
            for one in report.findings
        ],
        checks=dict(report.checks),
        audited_at=report.audited_at,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/summary",
        operation="getSummary",
        summary="Get the financial summary",
        tag="Settlement",
        handler=get,
        query=SummaryQuery,
        answers={200: SummarySchema},
    ),
)
