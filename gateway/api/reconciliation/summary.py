"""The financial summary and its audit, for the platform.

Owns: the request and response schemas. Must not know: how a figure is summed or audited.
"""

from typing import Final, Literal

from pydantic import Field

from clearing.audit import AuditReport
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel
from gateway.reconciliation.report_service import SummaryReport
from gateway.schemas import api_schemas


class SummaryQuery(QueryModel):
    """The last audit is always shown; another one now reads the whole ledger."""

    audit: bool = Field(
        default=False, description="true: audit the ledger now as well, which reads every row"
    )


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


class LastAuditSchema(api_schemas.PublicSchema):
    """What the last `networkcore audit` came to, of the whole or of a day, with the PSP's own record."""

    finished_at: api_schemas.Instant
    result: Literal["agrees", "differs", "not_compared"]
    checks: list[str] = Field(description="those that did not agree, or could not be compared")


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
    last_audit: LastAuditSchema | None = Field(description="null: none has run yet")
    audit: AuditSchema | None


async def get(call: ApiRequest) -> ApiResponse:
    """The summary, the last audit, and another where it is asked for, from one snapshot."""
    return ApiResponse(
        body=_summary(await call.services.financial_reports.read_summary(with_audit=call.query.audit))
    )


def _amounts(totals: object) -> list[AmountSchema]:
    pairs = sorted(dict(totals).items())  # type: ignore[call-overload]
    return [AmountSchema(currency=currency, amount=minor) for currency, minor in pairs]


def _summary(report: SummaryReport) -> SummarySchema:
    summary, last = report.summary, report.last_audit
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
        last_audit=None
        if last is None
        else LastAuditSchema(finished_at=last.finished_at, result=last.result, checks=list(last.checks)),
        audit=None if report.audit is None else _audit(report.audit),
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
        description=(
            "What was captured, earned, paid and is open, and what the last `networkcore audit` came to."
            " With `audit=true` the ledger is audited now as well, which reads every row."
        ),
        tag="Settlement",
        handler=get,
        query=SummaryQuery,
        answers={200: SummarySchema},
    ),
)
