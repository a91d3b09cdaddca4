"""The console's texts in its four languages, from one catalogue in several files.

Owns: which languages there are, and how one is chosen. Must not know any page. A test compares the languages.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

LANGUAGES: Final[Mapping[str, str]] = {
    "en": "English",
    "de": "Deutsch",
    "fr": "Français",
    "it": "Italiano",
}
_DEFAULT: Final = "en"
# The counts that a language says in the singular (Unicode CLDR, plural rules): French also says none so.
_ONE: Final[Mapping[str, frozenset[str]]] = {"en": frozenset({"1"}), "fr": frozenset({"0", "1"})}
# What pages share, payments and books; what operators, developers and the night shift read; what audits
# compare; trust of Plug & Charge; words for codes.
FILES: Final = (
    "texts.json",
    "texts_operators.json",
    "texts_operations.json",
    "texts_audits.json",
    "texts_trust.json",
    "texts_words.json",
)


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Every text by its key and language."""
    found: dict[str, Mapping[str, str]] = {}
    for name in FILES:
        found |= json.loads((files("gateway.console") / name).read_text(encoding="utf-8"))
    return found


class Texts:
    """The texts of one language."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key with its values in place, for a count of 1 the singular. Raises KeyError."""
        singular = f"{key}_one"
        if str(values.get("count")) in _ONE.get(self.language, _ONE[_DEFAULT]) and singular in catalogue():
            key = singular
        text = catalogue()[key][self.language]
        return text.format(**values) if values else text

    def of_key(self, key: str) -> str:
        """The text of a key that comes from the API; its last part, readable, where there is none."""
        found = catalogue().get(key)
        return key.partition(".")[2].replace("_", " ") if found is None else found[self.language]

    def of_known(self, key: str) -> str | None:
        """The text of a key that may have none: what the catalogue does not know says so in its own words."""
        found = catalogue().get(key)
        return None if found is None else found[self.language]

    def of_code(self, kind: str, code: str) -> str:
        """A code of the API in words; the code itself, readable, where the catalogue has no word for it."""
        found = catalogue().get(f"{kind}.{code}")
        return code.replace("_", " ") if found is None else found[self.language]


def choose_language(*, cookie: str | None, accepted: str) -> str:
    """The language that a person chose, else the first of the browser's that there is (RFC 9110 12.5.4)."""
    if cookie in LANGUAGES:
        return cookie or _DEFAULT
    weighed: list[tuple[float, str]] = []
    for part in accepted.split(","):
        tag, _, quality = part.partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        weighed.append((-weight, tag.strip().lower()[:2]))
    return next((tag for _, tag in sorted(weighed, key=lambda one: one[0]) if tag in LANGUAGES), _DEFAULT)
