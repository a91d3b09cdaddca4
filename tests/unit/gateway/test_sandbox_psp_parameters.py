"""The sandbox PSP takes only what the provider's SDK of the pinned version knows, endpoint by endpoint."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import stripe

from gateway.payments.psp.stripe.wire import API_VERSION
from sandbox.stripe.access import PspRequest
from sandbox.stripe.engine import PspEngine
from sandbox.stripe.parameters import Leaf, ListOf, Shape, shape_of
from sandbox.stripe.routes import ROUTES
from sandbox.stripe.settings import DEFAULT_API_VERSION, PspSettings, SettingsError
from tests.stripe_types import ENDPOINTS, alternatives, fields_of, is_params, params_named

ROOT = Path(__file__).parents[3]
SDK_VERSION = "16.1.0"
PLAYED = {f"{method} {path}": handler for method, path, handler in ROUTES if path.startswith("/v1/")}


def test_every_endpoint_that_is_played_names_the_types_that_it_is_compared_with() -> None:
    assert PLAYED.keys() == ENDPOINTS.keys()


@pytest.mark.parametrize("endpoint", PLAYED)
def test_an_endpoint_takes_only_what_the_provider_knows(endpoint: str) -> None:
    shape = shape_of(PLAYED[endpoint])
    assert shape is not None, "its handler declares no parameters"
    fields = fields_of(params_named(ENDPOINTS[endpoint]))
    if "expand" not in fields:  # a deletion answers a stub
        assert endpoint.startswith("DELETE")
        shape = {name: kind for name, kind in shape.items() if name != "expand"}
    assert list(unknown(shape, fields, endpoint)) == []


def unknown(shape: Shape, fields: Mapping[str, Any], path: str) -> Iterator[str]:
    """What is declared and not in the SDK's types, or of another kind there."""
    for name, kind in shape.items():
        said = f"{path} {name}"
        if name not in fields:
            yield f"{said}: unknown to the provider"
            continue
        hints = alternatives(fields[name])
        groups = [hint for hint in hints if is_params(hint)]
        if isinstance(kind, ListOf):
            items = [one for hint in hints for one in get_args(hint) if is_params(one)]
            assert items, f"{said}: no list of groups"
            yield from unknown(kind.shape, {k: v for one in items for k, v in fields_of(one).items()}, said)
            continue
        if isinstance(kind, Mapping):
            known = {field: hint for group in groups for field, hint in fields_of(group).items()}
            yield from unknown(kind, known, said)
            continue
        is_list = any(get_origin(hint) is list for hint in hints)
        is_map = any(get_origin(hint) is dict for hint in hints)
        if is_list is not (kind is Leaf.LIST) or is_map is not (kind is Leaf.MAP):
            yield f"{said}: {kind} is another kind than {hints}"
        texts = [hint for hint in hints if not is_params(hint) and get_args(hint) != ("",)]
        if kind is Leaf.VALUE and not texts:
            yield f"{said}: a group of parameters is taken as one value"


def test_the_versions_of_adapter_sdk_and_sandbox_are_one() -> None:
    assert API_VERSION == stripe.api_version == DEFAULT_API_VERSION
    assert version("stripe") == stripe.VERSION == SDK_VERSION
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert f"\nstripe=={SDK_VERSION} " in (ROOT / name).read_text(encoding="utf-8"), name


def test_another_version_of_the_api_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"plays 2026-10-28\.endive only"):
        PspSettings(api_version="2025-01-01.acacia")
    engine = PspEngine(PspSettings())
    headers = {"authorization": "Bearer sk_test_sandbox", "stripe-version": "2026-09-30.dahlia"}
    reply = engine.handle(PspRequest(method="GET", path="/v1/balance", headers=headers))
    assert reply.status == 400
    assert b"2026-10-28.endive only" in reply.body
    engine.close()


def test_a_closed_list_of_values_is_checked_as_closed() -> None:
    hint = fields_of(params_named("PaymentIntentCreateParams"))["capture_method"]
    assert [get_args(one) for one in alternatives(hint)] == [("automatic", "automatic_async", "manual")]


@pytest.mark.parametrize("scheme", ["Bearer pk_test_sandbox", "Basic cGtfdGVzdF9zYW5kYm94Og=="])
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/payment_methods", b"type=card&card[token]=tok_visa", 200, None),
        ("POST", "/v1/payment_methods", b"type=card&metadata[a]=1", 400, "parameter_unknown"),
        ("GET", "/v1/balance", b"", 403, "secret_key_required"),
        ("POST", "/v1/customers", b"", 403, "secret_key_required"),
        ("GET", "/v1/payment_intents/pi_1", b"", 404, "resource_missing"),
    ],
)
def test_the_publishable_key_may_do_only_what_an_app_does(
    *, scheme: str, method: str, path: str, body: bytes, status: int, code: str | None
) -> None:
    engine = PspEngine(PspSettings())
    reply = engine.handle(PspRequest(method=method, path=path, headers={"authorization": scheme}, body=body))
    assert reply.status == status, reply.body
    assert code is None or code.encode() in reply.body
    engine.close()
