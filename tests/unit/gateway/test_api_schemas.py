"""Times of the API: whole, with an offset, in strict bodies and in queries alike."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import BaseModel, ValidationError

from gateway.api.endpoint import QueryModel, WireModel
from gateway.schemas.api_schemas import Instant


class Body(WireModel):
    at: Instant


class Query(QueryModel):
    at: Instant


EIGHT = datetime(2026, 10, 29, 8, tzinfo=UTC)


@pytest.mark.parametrize("model", [Body, Query])
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-10-29T08:00:00Z", EIGHT),
        ("2026-10-29t08:00:00z", EIGHT),
        ("2026-10-29 08:00:00Z", EIGHT),
        ("2026-10-29T10:00:00+02:00", EIGHT),
        ("2026-10-29T08:00:00.5Z", EIGHT + timedelta(milliseconds=500)),
        ("2026-10-29T08:00:00.123456789Z", EIGHT + timedelta(microseconds=123456)),
    ],
)
def test_a_time_is_read_in_a_body_and_in_a_query(model: type[Body | Query], text: str, at: datetime) -> None:
    assert model.model_validate_json(f'{{"at": "{text}"}}').at == at
    assert model.model_validate({"at": at.astimezone(timezone(timedelta(hours=2)))}).at == at


@pytest.mark.parametrize("model", [Body, Query])
@pytest.mark.parametrize(
    "text",
    [
        "1793260800",
        "2026-10-29",
        "2026-10-29T08:00:00",
        "2026-02-30T08:00:00Z",
        "2026-10-29T25:00:00Z",
        "",
        "x",
    ],
)
def test_what_is_no_whole_time_is_rejected_with_an_example(model: type[BaseModel], text: str) -> None:
    with pytest.raises(ValidationError, match="such as 2026-10-29T08:00:00Z"):
        model.model_validate_json(f'{{"at": "{text}"}}')
