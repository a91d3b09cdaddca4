"""The languages that documents, statements and prices come in, and their texts: a TOML file each.

Owns: where texts are found and that all languages have the same keys. Must not know: what they say.
"""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from clearing.errors import ClearingInvariantViolation


class Language(StrEnum):
    """ISO 639-1."""

    ENGLISH = "en"
    GERMAN = "de"
    FRENCH = "fr"
    ITALIAN = "it"


@cache
def texts(package: str, language: Language) -> Mapping[str, Any]:
    """The texts of `package` (its `texts/<language>.toml`) by key.

    Raises ClearingInvariantViolation where a language has other keys than English.
    """
    found = tomllib.loads((files(package) / "texts" / f"{language}.toml").read_text(encoding="utf-8"))
    if language is not Language.ENGLISH:
        different = found.keys() ^ texts(package, Language.ENGLISH).keys()
        if different:
            raise ClearingInvariantViolation(f"{package} in {language}: {', '.join(sorted(different))}")
    return MappingProxyType(found)
