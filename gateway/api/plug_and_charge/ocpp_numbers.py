"""Exact decimals in OCPP messages: JSON numbers with the digits of the Decimal, never through a float.

Owns: how a Decimal is written where OCPP's schema requires a number. Must not know any message. Amounts of
our own API are integers.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, WithJsonSchema

ExactNumber = Annotated[Decimal, WithJsonSchema({"type": "number"})]


def exact(value: Any) -> Any:
    """The value with every Decimal as the bytes of a JSON number; models become mappings."""
    match value:
        case Decimal():
            return msgspec.Raw(format(value, "f").encode("ascii"))
        case BaseModel():
            # Models of ours serialize themselves, but for the fields that hold OCPP's numbers.
            return {
                name: exact(content) if _has_number(content) else shown
                for (name, content), shown in zip(value, value.model_dump(mode="json").values(), strict=True)
            }
        case Mapping():
            return {name: exact(content) for name, content in value.items()}
        case list():
            return [exact(content) for content in value]
        case _:
            return value


def _has_number(value: Any) -> bool:
    match value:
        case Decimal():
            return True
        case BaseModel():
            return any(_has_number(content) for _, content in value)
        case Mapping():
            return any(_has_number(content) for content in value.values())
        case list():
            return any(_has_number(content) for content in value)
        case _:
            return False
