"""Texts in four languages: each has the same keys and fills in the same names."""

import re
from pathlib import Path

import pytest

import clearing
from clearing.documents.translations import labels
from clearing.language import Language, texts
from clearing.pricing.translations import Translations

ROOT = Path(clearing.__file__).parent
PACKAGES = sorted(f"clearing.{path.parent.name}" for path in ROOT.glob("*/texts"))


def test_three_packages_have_texts() -> None:
    assert PACKAGES == ["clearing.documents", "clearing.pricing", "clearing.settlement_statements"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_language_has_a_file_and_no_other_does(package: str) -> None:
    folder = ROOT / package.partition(".")[2] / "texts"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{one}.toml" for one in Language)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("language", Language)
def test_every_language_has_the_same_keys_and_fills_in_the_same_names(
    package: str, language: Language
) -> None:
    ours, english = texts(package, language), texts(package, Language.ENGLISH)
    assert list(ours) == list(english)
    for key, text in english.items():
        assert ours[key], key
        assert type(ours[key]) is type(text), key
        if isinstance(text, str):
            assert _filled_in(ours[key]) == _filled_in(text), key


def test_the_texts_of_prices_are_the_fields_of_their_type() -> None:
    assert list(texts("clearing.pricing", Language.ENGLISH)) == list(Translations.__dataclass_fields__)


def test_a_document_is_named_in_each_language() -> None:
    assert [labels(language)["invoice"] for language in Language] == [
        "Invoice",
        "Rechnung",
        "Facture",
        "Fattura",
    ]


def _filled_in(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)\}", text))
