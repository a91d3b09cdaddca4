"""Personal data of a driver over HTTP: reported, exported, erased.

Owns: the paths and the wire form. Must not know: where the data are. A name of a person stands in a body,
never in a path or a query, and no answer is kept for a repeat.
"""

from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import Field, model_validator

from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import ListQuery, Slug, before
from gateway.ids import format_id
from gateway.personal_data.export import export_json
from gateway.personal_data.person import ErasureReport, KeptRows, Subject, SubjectKind
from gateway.personal_data.person_repository import ErasureRecord
from gateway.schemas import personal_data as schemas

_PREFIX: Final = "era"


class PersonBody(WireModel):
    """By which name a person is looked for."""

    kind: SubjectKind = Field(description="what the value is", examples=["email"])
    value: str = Field(
        min_length=1, max_length=255, description="the name itself", examples=["jo@example.com"]
    )
    party: Slug | None = Field(None, description="with the kind reference: the party whose name it is")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (misfit := self.subject.misfit()) is not None:
            raise ValueError(misfit)
        return self

    @property
    def subject(self) -> Subject:
        """The person."""
        return Subject(kind=self.kind, value=self.value, party_id=self.party)


class ErasePersonBody(PersonBody):
    """Whom to erase, and why."""

    reason: str = Field(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$",
        description="such as the number of the request; it must not name the person",
        examples=["request 2026-114"],
    )


async def find(call: ApiRequest) -> ApiResponse:
    """What is known of a person; nothing is changed."""
    body: PersonBody = call.body
    return ApiResponse(body=_report(await call.services.persons.report(body.subject)))


async def erase(call: ApiRequest) -> ApiResponse:
    """Erase a person, or say what prevents it."""
    body: ErasePersonBody = call.body
    made = await call.services.persons.erase(body.subject, reason=body.reason.strip(), key=call.caller.key)
    return ApiResponse(body=_report(made))


async def export(call: ApiRequest) -> ApiResponse:
    """Every row of a person."""
    body: PersonBody = call.body
    found = await call.services.persons.export(body.subject)
    return ApiResponse(body=schemas.PersonExportSchema(tables=export_json(found)))


async def list_erasures(call: ApiRequest) -> ApiResponse:
    """Erasures, newest first."""
    query: ListQuery = call.query
    found = await call.services.persons.list_erasures(before=before(query, _PREFIX), limit=query.limit + 1)
    return ApiResponse(body=page([_erasure(one) for one in found], limit=query.limit))


def _report(report: ErasureReport) -> schemas.PersonReportSchema:
    return schemas.PersonReportSchema(
        outcome=report.outcome.value,
        pseudonym=report.pseudonym,
        rows=dict(report.found),
        obstacles=[
            schemas.ObstacleSchema(subject=one.subject, reason=one.reason) for one in report.obstacles
        ],
        kept=[_kept(one) for one in report.kept],
        elsewhere=list(report.elsewhere),
        at=report.at,
    )


def _kept(one: KeptRows) -> schemas.KeptRowsSchema:
    return schemas.KeptRowsSchema(rule=one.rule, rows=one.rows, why=one.why, until=one.until)


def _erasure(one: ErasureRecord) -> schemas.ErasureSchema:
    return schemas.ErasureSchema(
        id=format_id(_PREFIX, one.id),
        pseudonym=one.pseudonym,
        erased_at=one.erased_at,
        erased_by=one.erased_by,
        reason=one.reason,
        rows=dict(one.erased),
        kept=[_kept_before(kept) for kept in one.kept],
    )


def _kept_before(kept: Mapping[str, Any]) -> schemas.KeptRowsSchema:
    return schemas.KeptRowsSchema.model_validate(kept)


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/personal-data/find",
        operation="findPersonalData",
        summary="Find the personal data of a driver",
        description="What would be erased, what prevents it, what the law keeps and until when. Nothing is"
        " changed.",
        tag="Operations",
        handler=find,
        body=PersonBody,
        answers={200: schemas.PersonReportSchema},
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/personal-data/export",
        operation="exportPersonalData",
        summary="Export the personal data of a driver",
        description="Every row that is the driver's, by table: Regulation (EU) 2016/679 art. 15 and 20.",
        tag="Operations",
        handler=export,
        body=PersonBody,
        answers={200: schemas.PersonExportSchema},
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/personal-data/erase",
        operation="erasePersonalData",
        summary="Erase the personal data of a driver",
        description="In one transaction: everything, or nothing while a session, a payment, a token, a"
        " contract or a saved payment method is still in use; `obstacles` name what ends first. What the law"
        " keeps stays and is listed. A repeat erases what has arrived since.",
        tag="Operations",
        handler=erase,
        body=ErasePersonBody,
        answers={200: schemas.PersonReportSchema},
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/erasures",
        operation="listErasures",
        summary="List erasures",
        description="The erasures that were carried out. They name nobody.",
        tag="Operations",
        handler=list_erasures,
        query=ListQuery,
        answers={200: schemas.ErasureSchema},
        listed=True,
    ),
)
