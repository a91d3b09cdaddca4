"""The edge's small rules: pointers, rates, ETags, the catalogue of problems and of events."""

import re
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from clearing.errors import ClearingInvariantViolation, InvalidAmountError
from gateway.api import problems
from gateway.api.auth import Caller
from gateway.api.endpoint import QueryModel, WireModel, page
from gateway.api.error_mapping import problem_for
from gateway.api.idempotency import KeyRule, read_key, request_hash
from gateway.api.problems import CATALOG, ProblemDetails, ProblemError, document
from gateway.api.request_bodies import parse_body, parse_query, pointer
from gateway.errors import RateLimitExceededError
from gateway.limits.rate_limit import RateLimiter, RateRule
from gateway.partners.api_key_service import mint
from gateway.payments import errors
from gateway.schemas import api_schemas
from gateway.scopes import ALL_SCOPES, Scope
from gateway.webhooks.events import DATA_MODELS, EventType


class Cat(WireModel):
    type: Literal["cat"]
    lives: int


class Dog(WireModel):
    type: Literal["dog"]
    tricks: list[str]


class Home(WireModel):
    pet: Annotated[Cat | Dog, Field(discriminator="type")]
    names: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b'{"pet": {"type": "cat"}}', ["/pet/lives"]),
        (b'{"pet": {"type": "cat", "lives": "9"}}', ["/pet/lives"]),
        (b'{"pet": {"type": "dog", "tricks": ["sit", 5]}}', ["/pet/tricks/1"]),
        (b'{"pet": {"type": "dog", "tricks": [], "x": 1}}', ["/pet/x"]),
        (b'{"pet": {"type": "cow"}}', ["/pet"]),
        (b'{"pet": {"type": "cat", "lives": 9}, "names": {"a/b~c": "x"}}', ["/names/a~1b~0c"]),
        (b'{"pet": null}', ["/pet"]),
        (b"{}", ["/pet"]),
        (b"[]", [""]),
    ],
)
def test_a_fault_is_found_by_its_json_pointer(body: bytes, pointers: list[str]) -> None:
    """RFC 6901: a slash before each step, ~1 for a slash, ~0 for a tilde."""
    with pytest.raises(ProblemError) as caught:
        parse_body(Home, body)
    assert [error.pointer for error in caught.value.rejection.errors] == pointers


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)
def test_a_pointer_is_made_for_any_place_without_error(given_value: object) -> None:
    assert pointer(("a", 0, "b"), given=given_value).count("/") <= 3


class Find(QueryModel):
    limit: int = Field(20, ge=1, le=100)


def test_a_query_is_read_from_text_and_held_to_its_bounds() -> None:
    assert parse_query(Find, {"limit": "7"}) == Find(limit=7)
    for query in ({"limit": "0"}, {"limit": "x"}, {"limt": "7"}):
        with pytest.raises(ProblemError) as caught:
            parse_query(Find, query)
        assert caught.value.rejection.kind is problems.INVALID_PARAMETERS


@given(
    per_second=st.integers(1, 50),
    burst=st.integers(1, 50),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(
    per_second: int, burst: int, steps: list[float]
) -> None:
    limiter = RateLimiter(RateRule(name="t", per_second=per_second, burst=burst))
    at, given_out = 0.0, 0
    for step in steps:
        at += step
        try:
            limiter.take("k", at=at)
            given_out += 1
        except RateLimitExceededError as rejected:
            wait = int(rejected.headers["Retry-After"])
            assert wait >= 1
    assert given_out <= burst + at * per_second + 1


def test_an_empty_bucket_says_when_and_that_is_enough() -> None:
    limiter = RateLimiter(RateRule(name="t", per_second=1, burst=2))
    assert limiter.take("k", at=0.0)["RateLimit"] == '"t";r=1;t=1'
    limiter.take("k", at=0.0)
    with pytest.raises(RateLimitExceededError) as caught:
        limiter.take("k", at=0.0)
    with pytest.raises(RateLimitExceededError):
        limiter.check("k", at=0.0)
    limiter.check("other", at=0.0)
    limiter.take("other", at=0.0)
    later = float(caught.value.headers["Retry-After"])
    limiter.check("k", at=later)
    limiter.take("k", at=later)


def test_counting_never_raises_and_looking_takes_nothing() -> None:
    limiter = RateLimiter(RateRule(name="t", per_second=1, burst=2))
    for _ in range(5):
        limiter.check("k", at=0.0)
    for _ in range(5):
        limiter.count("k", at=0.0)
    with pytest.raises(RateLimitExceededError):
        limiter.check("k", at=0.0)
    limiter.check("k", at=1.0)


def test_a_rate_of_nothing_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RateRule(name="t", per_second=0, burst=1)


@pytest.mark.parametrize(
    ("header", "key"),
    [("abc", "abc"), ('"abc"', "abc"), (" abc ", "abc"), ('"', '"'), ("k" * 255, "k" * 255)],
)
def test_a_key_is_read_plain_or_quoted(header: str, key: str) -> None:
    assert read_key(header, rule=KeyRule.REQUIRED) == key


def test_a_key_is_needed_only_where_the_rule_says() -> None:
    assert read_key(None, rule=KeyRule.OPTIONAL) is None
    assert read_key("ignored", rule=KeyRule.NONE) is None
    with pytest.raises(ProblemError) as caught:
        read_key(None, rule=KeyRule.REQUIRED)
    assert caught.value.rejection.kind is problems.IDEMPOTENCY_KEY_MISSING


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_only_the_same_request_has_the_same_hash(one: bytes, other: bytes) -> None:
    same = request_hash(method="POST", path="/a", body=one) == request_hash(
        method="POST", path="/a", body=other
    )
    assert same == (one == other)
    assert request_hash(method="POST", path="/a", body=one) != request_hash(
        method="POST", path="/b", body=one
    )


def test_a_key_is_made_of_a_findable_part_and_a_secret_one() -> None:
    minted = mint()
    assert re.fullmatch(r"nck_[a-z0-9]{12}_[A-Za-z0-9_-]{43}", minted.token)
    assert minted.token.startswith(minted.prefix + "_")
    assert len(minted.secret_hash) == 32
    assert minted.token not in repr(minted)
    assert len({mint().prefix for _ in range(200)}) == 200


def test_admin_may_everything_and_others_only_what_they_hold() -> None:
    admin = Caller(party_id="platform", key="k", scopes=ALL_SCOPES)
    partner = Caller(party_id="a", key="k", scopes=frozenset({Scope.CAPTURE_READ}))
    assert all(admin.may(scope) for scope in Scope)
    assert [scope for scope in Scope if partner.may(scope)] == [Scope.CAPTURE_READ]


def test_the_catalogue_is_complete_and_each_entry_helps() -> None:
    for code, kind in CATALOG.items():
        assert kind.code == code
        assert re.fullmatch(r"[a-z_]+", code)
        assert 400 <= kind.status <= 599
        assert kind.title
        assert kind.remedy.endswith(".")
        assert not kind.title.endswith(".")
    assert CATALOG["internal_error"].transient


def test_a_problem_names_its_type_status_detail_and_instance() -> None:
    """RFC 9457 section 3.1: type, title, status, detail, instance; members of its own never hide these."""
    rejection = ProblemDetails(
        kind=problems.CARD_DECLINED, detail="No.", extra={"decline_code": "x", "status": 200, "code": "y"}
    )
    shown = document(rejection, base_url="http://h", instance="req_1")
    assert shown["type"] == "http://h/problems/card_declined"
    assert (shown["status"], shown["code"], shown["decline_code"]) == (402, "card_declined", "x")
    assert shown["instance"] == "req_1"


def test_every_rejection_of_payments_has_its_problem() -> None:
    for error in vars(errors).values():
        if not isinstance(error, type) or error is errors.PaymentError:
            continue
        if issubclass(error, errors.PaymentError):
            found = problem_for(error("because"))
            assert found is not None, error
            assert found.detail == "because."


def test_a_bug_is_not_dressed_up_as_a_callers_mistake() -> None:
    assert problem_for(ClearingInvariantViolation("x")) is None
    assert problem_for(ZeroDivisionError()) is None
    wrong = problem_for(InvalidAmountError("x"))
    assert wrong is not None
    assert wrong.kind.status == 400
    away = problem_for(ConnectionResetError())
    assert away is not None
    assert (away.kind.status, away.kind.transient) == (503, True)


def test_every_event_type_has_the_shape_of_its_data() -> None:
    for kind in EventType:
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", kind.value)
        assert kind.value.partition(".")[0] in DATA_MODELS


def test_a_public_object_rejects_unknown_fields_and_naive_times() -> None:
    values = {"id": "evt_1", "type": "a.b", "api_version": "1", "object_id": "x", "data": {}}
    with pytest.raises(ValidationError):
        api_schemas.EventSchema.model_validate(values | {"created": "2026-10-29T08:00:00"})
    with pytest.raises(ValidationError):
        api_schemas.EventSchema.model_validate(values | {"created": "2026-10-29T08:00:00Z", "more": 1})
    shown = api_schemas.EventSchema.model_validate(
        values | {"created": "2026-10-29T08:00:00+01:00"}
    ).as_json()
    assert shown["created"] == "2026-10-29T07:00:00Z"


def test_a_page_tells_whether_there_is_more_by_one_extra_item() -> None:
    items = [api_schemas.PriceTaxSchema(name=str(number), rate=None, amount=1) for number in range(3)]
    full = page(items, limit=2, cursor=lambda item: item.name)
    assert (len(full["data"]), full["has_more"], full["next_cursor"]) == (2, True, "1")
    last = page(items, limit=3, cursor=lambda item: item.name)
    assert (len(last["data"]), last["has_more"], last["next_cursor"]) == (3, False, None)
