"""What each endpoint takes: names, groups and kinds of its parameters, checked before its handler runs.

Owns: the declaration beside each handler, the rejection of everything that is not declared. Must not know:
any resource's rules. What is declared is what is played: a test compares it with the types of the provider's
SDK, and a parameter of the provider's that is not played is refused like one that nobody knows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.problems import Json, ParameterProblem

Handler: TypeAlias = Callable[[PspApiRequest], Json]


class Leaf(StrEnum):
    """A parameter without a group below it."""

    VALUE = "value"
    LIST = "list"
    MAP = "map"  # any names, each with a text
    RANGE = "range"  # one value, or bounds


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of groups, each of the same parameters."""

    shape: "Shape"


Shape: TypeAlias = Mapping[str, "Leaf | Shape | ListOf"]

LIST: Final = Leaf.LIST
VALUE: Final = Leaf.VALUE
ADDRESS: Final[Shape] = MappingProxyType(
    dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), VALUE)
)
_BOUNDS: Final[Shape] = MappingProxyType(dict.fromkeys(("gt", "gte", "lt", "lte"), VALUE))
_KIND_OF: Final = {"metadata": Leaf.MAP, "expand": LIST, "created": Leaf.RANGE, "arrival_date": Leaf.RANGE}
# Taken away on 2026-09-30 from what may be written; the list in the answers is computed
# (docs.stripe.com/changelog/endive).
_REMOVED: Final = {"payment_method_types": "allowed_payment_method_types"}
_taken: Final[dict[Handler, Shape]] = {}
_taken_from_client: Final[dict[Handler, Shape]] = {}


def takes(*names: str, **groups: "Leaf | Shape | ListOf") -> Callable[[Handler], Handler]:
    """Declare a handler's parameters: `names` have one value each, `groups` more. `expand` is one of them."""

    def declared(handler: Handler) -> Handler:
        _taken[handler] = _shape(("expand", *names), groups)
        return handler

    return declared


def takes_from_client(*names: str, **groups: "Leaf | Shape | ListOf") -> Callable[[Handler], Handler]:
    """Declare what a driver's app sends with the publishable key instead: the SDK of servers knows it not.

    Source: docs.stripe.com/js (the requests of the provider's own script).
    """

    def declared(handler: Handler) -> Handler:
        _taken_from_client[handler] = _shape(names, groups)
        return handler

    return declared


def _shape(names: tuple[str, ...], groups: "Mapping[str, Leaf | Shape | ListOf]") -> Shape:
    known: dict[str, Leaf | Shape | ListOf] = {name: _KIND_OF.get(name, VALUE) for name in names}
    return MappingProxyType({**known, **groups})


def shape_of(handler: Handler, *, client: bool = False) -> Shape | None:
    """What a handler declared, for a driver's app where it is `client`.

    None for the sandbox's own control API, and for what no app may call.
    """
    return (_taken_from_client if client else _taken).get(handler)


def check(sent: Json, shape: Shape, path: str = "") -> None:
    """Refuse what is not declared. Raises ParameterProblem."""
    for name, value in sent.items():
        said = f"{path}[{name}]" if path else name
        kind = shape.get(name)
        if kind is None:
            raise _unknown(said, shape, path)
        if isinstance(kind, ListOf):
            if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
                raise ParameterProblem("Invalid array", param=said)
            for at, item in value.items():
                check(item, kind.shape, f"{said}[{at}]")
        elif isinstance(kind, Mapping):
            if isinstance(value, dict):
                check(value, kind, said)
            elif value != "":
                raise ParameterProblem(f"Invalid object: {said}", param=said)
        elif kind is Leaf.RANGE and isinstance(value, dict):
            check(value, _BOUNDS, said)
        elif kind is Leaf.LIST and isinstance(value, str) and value != "":
            raise ParameterProblem("Invalid array", param=said)
        elif kind in {Leaf.VALUE, Leaf.RANGE} and not isinstance(value, str):
            raise ParameterProblem(f"Invalid string: {{}} for {said}", param=said)


def _unknown(said: str, shape: Shape, path: str) -> ParameterProblem:
    successor = _REMOVED.get(said)
    if successor is not None and successor in shape:
        return ParameterProblem(
            f"The parameter `{said}` is no longer supported as of this API version. Use `{successor}`, or "
            "let the payment methods be chosen for you.",
            code=f"{said}_no_longer_supported",
            param=said,
        )
    played = ", ".join(sorted(shape)) or "none"
    return ParameterProblem(
        f"Received unknown parameter: {said}. This PSP plays {f'of {path} ' if path else ''}only: {played}.",
        code="parameter_unknown",
        param=said,
    )
