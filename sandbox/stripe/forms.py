"""Requests as nested parameters.

Form decoding with brackets, and typed reading with the provider's rejections.

Owns: the bracket grammar, the parameter errors. Must not know: any resource.
"""

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from sandbox.stripe.problems import Json, ParameterProblem

MAX_FIELDS: Final = 1000
MAX_DEPTH: Final = 8
METADATA_KEYS: Final = 50
METADATA_KEY_LENGTH: Final = 40
METADATA_VALUE_LENGTH: Final = 500
MAX_INTEGER: Final = 2**53

_KEY: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)\Z")
_PART: Final = re.compile(r"\[([^\[\]]*)\]")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}\Z")
_CARD_FIELD: Final = re.compile(r"(?:^|\[)(?:number|cvc|track_data|encrypted_data)\]?\Z")
_CARD_FIELDS: Final = ("card[number]", "card[exp_month]", "card[exp_year]", "card[cvc]")
_LONG_DIGITS: Final = re.compile(r"(?:[0-9][ -]?){12,18}[0-9]\Z")


def parse_form(encoded: str, *, card_fields: bool = False) -> Json:
    """Decode `a[b][0]=c` pairs into nested dictionaries. Raises ParameterProblem on a key it cannot read.

    `card_fields` lets the fields of a card pass, from a driver's browser alone.
    """
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise ParameterProblem(f"Invalid request body: {error}") from None
    tree: Json = {}
    for key, value in pairs:
        if not (card_fields and key in _CARD_FIELDS):
            _reject_card_data(key, value)
        _insert(tree, key, value)
    return tree


def _reject_card_data(key: str, value: str) -> None:
    """A card number never enters: neither as a card field nor as any value outside free text.

    It is not echoed.
    """
    if key.startswith(("metadata", "description", "external_account", "tax_id", "query")):
        return
    if _CARD_FIELD.search(key) or _LONG_DIGITS.match(value):
        raise ParameterProblem(
            "A credit card number or code is rejected here. Send a test PaymentMethod such as pm_card_visa.",
            param=key,
        )


def _insert(tree: Json, key: str, value: str) -> None:
    match = _KEY.match(key)
    if match is None:
        raise ParameterProblem(f"Invalid parameter name: {key!r}", param=key)
    path = [match[1], *_PART.findall(match[2])]
    if len(path) > MAX_DEPTH:
        raise ParameterProblem(f"Parameter is nested deeper than {MAX_DEPTH} levels", param=key)
    node = tree
    for part in path[:-1]:
        child = node.setdefault(part or str(len(node)), {})
        if not isinstance(child, dict):
            raise ParameterProblem("Invalid object: given both a value and nested values", param=key)
        node = child
    last = path[-1] or str(len(node))
    if isinstance(node.get(last), dict):
        raise ParameterProblem("Invalid object: given both a value and nested values", param=key)
    node[last] = value


class Params:
    """A reader over one level of parameters; `path` names it in rejections."""

    __slots__ = ("_fields", "_path")

    def __init__(self, fields: Json, path: str = "") -> None:
        self._fields = fields
        self._path = path

    def name(self, field: str) -> str:
        """The parameter's name as the client wrote it."""
        return f"{self._path}[{field}]" if self._path else field

    def only(self, *known: str) -> "Params":
        """Reject parameters that the endpoint does not know. Raises ParameterProblem."""
        for field in self._fields:
            if field not in known and field != "expand":
                name = self.name(field)
                raise ParameterProblem(
                    f"Received unknown parameter: {name}", code="parameter_unknown", param=name
                )
        return self

    def __contains__(self, field: str) -> bool:
        return field in self._fields

    def raw(self) -> Json:
        """The fields as they were sent."""
        return self._fields

    def text(self, field: str, *, longest: int = 5000) -> str | None:
        """A string, None where absent or empty. Raises ParameterProblem."""
        value = self._fields.get(field)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise ParameterProblem(f"Invalid string: {{}} for {self.name(field)}", param=self.name(field))
        if len(value) > longest:
            raise ParameterProblem(
                f"Invalid string: must be at most {longest} characters",
                code="parameter_invalid_string_too_long",
                param=self.name(field),
            )
        return value

    def required_text(self, field: str) -> str:
        """A string that must be there. Raises ParameterProblem."""
        value = self.text(field)
        if value is None:
            raise self._missing(field)
        return value

    def _missing(self, field: str) -> ParameterProblem:
        name = self.name(field)
        return ParameterProblem(f"Missing required param: {name}.", code="parameter_missing", param=name)

    def integer(self, field: str, *, least: int | None = None, most: int = MAX_INTEGER) -> int | None:
        """A whole number within bounds, None where absent. Raises ParameterProblem."""
        value = self.text(field)
        if value is None:
            return None
        if not _INTEGER.match(value):
            raise ParameterProblem(
                f"Invalid integer: {value[:40]}", code="parameter_invalid_integer", param=self.name(field)
            )
        number = int(value)
        if (least is not None and number < least) or number > most:
            bound = (
                f"greater than or equal to {least}"
                if least is not None and number < least
                else f"at most {most}"
            )
            raise ParameterProblem(
                f"This value must be {bound}.", code="parameter_invalid_integer", param=self.name(field)
            )
        return number

    def required_integer(self, field: str, *, least: int | None = None) -> int:
        """A whole number that must be there. Raises ParameterProblem."""
        value = self.integer(field, least=least)
        if value is None:
            raise self._missing(field)
        return value

    def boolean(self, field: str, *, default: bool = False) -> bool:
        """`true` or `false`. Raises ParameterProblem on anything else."""
        value = self.text(field)
        if value is None:
            return default
        if value not in {"true", "false"}:
            raise ParameterProblem(f"Invalid boolean: {value[:40]}", param=self.name(field))
        return value == "true"

    def choice(self, field: str, options: tuple[str, ...], *, default: str | None = None) -> str | None:
        """One of `options`, `default` where absent. Raises ParameterProblem."""
        value = self.text(field)
        if value is None:
            return default
        if value not in options:
            listed = ", ".join(options[:-1]) + f", or {options[-1]}" if len(options) > 1 else options[0]
            raise ParameterProblem(
                f"Invalid {self.name(field)}: must be one of {listed}", param=self.name(field)
            )
        return value

    def section(self, field: str) -> "Params":
        """The nested parameters below `field`, empty where absent. Raises ParameterProblem."""
        value = self._fields.get(field)
        if value is None or value == "":
            return Params({}, self.name(field))
        if not isinstance(value, dict):
            raise ParameterProblem(f"Invalid object: {self.name(field)}", param=self.name(field))
        return Params(value, self.name(field))

    def texts(self, field: str) -> list[str]:
        """A list of strings, in the order of its indexes. Raises ParameterProblem."""
        value = self._fields.get(field)
        if value is None or value == "":
            return []
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise ParameterProblem("Invalid array", param=self.name(field))
        return [item for _, item in sorted(value.items(), key=_index_order)]

    def metadata(self, current: dict[str, str] | None = None) -> dict[str, str]:
        """`metadata` merged into `current`: an empty value removes a key, an empty metadata removes all."""
        value = self._fields.get("metadata")
        if value is None:
            return current or {}
        if value == "":
            return {}
        if not isinstance(value, dict):
            raise ParameterProblem("Invalid object: metadata", param="metadata")
        merged = dict(current or {})
        for key, item in _checked_metadata(value):
            if item == "":
                merged.pop(key, None)
            else:
                merged[key] = item
        if len(merged) > METADATA_KEYS:
            raise ParameterProblem(f"Metadata can have up to {METADATA_KEYS} keys", param="metadata")
        return merged


def _index_order(item: tuple[str, Any]) -> tuple[int, str]:
    return (int(item[0]), "") if item[0].isdigit() else (MAX_FIELDS, item[0])


def _checked_metadata(pairs: Json) -> Iterator[tuple[str, str]]:
    for key, item in pairs.items():
        name = f"metadata[{key[:METADATA_KEY_LENGTH]}]"
        if len(key) > METADATA_KEY_LENGTH:
            raise ParameterProblem(
                f"Metadata keys must be at most {METADATA_KEY_LENGTH} characters", param=name
            )
        if not isinstance(item, str):
            raise ParameterProblem("Invalid string: metadata values must be strings", param=name)
        if len(item) > METADATA_VALUE_LENGTH:
            raise ParameterProblem(
                f"Metadata values must be at most {METADATA_VALUE_LENGTH} characters", param=name
            )
        yield key, item
