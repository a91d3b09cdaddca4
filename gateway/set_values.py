"""Where settings are set, and how a wrong one is named: a file, secret files, the environment.

Owns: the order of these places, the names of variables, one line for each error. Must not know any setting:
the caller passes the fields. Values of secrets never appear.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from gateway.errors import ConfigurationError

PREFIX: Final = "NETWORKCORE_"
_CONFIG: Final = f"{PREFIX}CONFIG"
_FILE_SUFFIX: Final = "_FILE"
_MAX_SECRET_FILE_BYTES: Final = 65_536
# How much of an unknown name must agree with a setting before that one is suggested.
_LIKENESS: Final = 0.75
_MOST_SHOWN: Final = 64
_BOUNDS: Final = {
    "ge": "of {} or more",
    "gt": "above {}",
    "le": "at most {}",
    "min_length": "of at least {} characters",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetValue:
    """A value and the place it was set at, such as `port in gateway.toml`."""

    value: Any
    place: str


def read_set_values(environ: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> dict[str, SetValue]:
    """What is set, by setting; the environment is above secret files, and these above the config file.

    Raises:
        ConfigurationError: a named file can't be read, or what is set is none of `fields`.
    """
    return _from_file(environ, fields) | _from_environment(environ, fields)


def _from_file(environ: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> dict[str, SetValue]:
    name = environ.get(_CONFIG)
    if not name:
        return {}
    try:
        values = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{_CONFIG} names {name}, which can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{_CONFIG} names {name}, which is not TOML: {error}") from None
    for key in values:
        if key not in fields:
            raise ConfigurationError(f"{key} in {name} is not a setting{_suggestion(key, fields)}")
    return {key: SetValue(value=value, place=f"{key} in {name}") for key, value in values.items()}


def _from_environment(environ: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> dict[str, SetValue]:
    variables = {f"{PREFIX}{field.upper()}": field for field in fields}
    values: dict[str, SetValue] = {}
    for variable, field in [("DATABASE_URL", "database_url"), *variables.items()]:
        named = f"{variable}{_FILE_SUFFIX}"
        path, direct = environ.get(named), environ.get(variable)
        if path:
            content = _secret_file(path, variable=named)
            values[field] = SetValue(value=content, place=f"{variable} in {path}, named by {named},")
        if direct:
            values[field] = SetValue(value=direct, place=variable)
    known = {
        _CONFIG,
        f"{PREFIX}TRACEBACK",
        *variables,
        *(f"{variable}{_FILE_SUFFIX}" for variable in variables),
    }
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known:
            hint = _suggestion(variable.removeprefix(PREFIX), (name.removeprefix(PREFIX) for name in known))
            raise ConfigurationError(f"{variable} is not a setting{hint}")
    return values


def _secret_file(path: str, *, variable: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_SECRET_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{variable} names {path}, which can't be read: {error.strerror}") from None
    if len(content) > _MAX_SECRET_FILE_BYTES:
        raise ConfigurationError(
            f"{variable} names {path}, which is longer than {_MAX_SECRET_FILE_BYTES} bytes"
        )
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable} names {path}, which is not UTF-8 text") from None


def _suggestion(name: str, known: Iterable[str]) -> str:
    """A known name that is near enough to be meant, else nothing. Variables come without their prefix."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=_LIKENESS)
    if not near:
        return ""
    return f"; did you mean {PREFIX if name.isupper() else ''}{near[0]}?"


def describe_errors(
    error: ValidationError, given: Mapping[str, SetValue], fields: Mapping[str, FieldInfo]
) -> str:
    """Every problem in our words, in one line: the validation library's texts never reach an operator."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        own = detail.get("ctx", {}).get("error")  # the ValueError of a check of ours
        if not detail["loc"]:
            problems.append(str(own))
            continue
        name = str(detail["loc"][0])
        field = fields[name]
        variable = "DATABASE_URL" if name == "database_url" else f"{PREFIX}{name.upper()}"
        if name not in given:
            problems.append(
                f"{variable} is missing: set it, or {variable}{_FILE_SUFFIX} ({field.description})"
            )
            continue
        expected = f"expected {_allowed(field)}" if own is None else str(own)
        problems.append(f"{given[name].place} is invalid: {expected}{_shown(field, given[name].value)}")
    return "; ".join(problems)


def _shown(field: FieldInfo, value: Any) -> str:
    """The value as it was given, or nothing for a secret and for what is too long to be a slip."""
    text = repr(value) if isinstance(value, str) else str(value)
    if SecretStr in _types(field) or len(text) > _MOST_SHOWN:
        return ""
    return f", got {text}"


def _types(field: FieldInfo) -> tuple[Any, ...]:
    """The types that the setting may have, without what is checked of them: one, or one and None."""
    members = get_args(field.annotation) or (field.annotation,)
    return tuple(get_args(one)[0] if get_origin(one) is Annotated else one for one in members)


def _allowed(field: FieldInfo) -> str:
    """What a setting may be, from its type and its bounds."""
    kind = next(one for one in _types(field) if one is not type(None))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " or ".join(member.value for member in kind)
    if kind is bool:
        return "true or false"
    bounds = [
        text.format(getattr(one, name))
        for one in field.metadata
        for name, text in _BOUNDS.items()
        if hasattr(one, name)
    ]
    noun = {int: "a whole number", float: "a number"}.get(kind, "text")
    return " ".join([noun, " and ".join(bounds)]).strip()
