"""The labels of a printed settlement statement by language.

Owns: which texts they are. Must not know: what a statement holds or looks like.
"""

from collections.abc import Mapping

from clearing.language import Language, texts


def statement_labels(language: Language) -> Mapping[str, str]:
    """Every label in one language, by its key."""
    return texts("clearing.settlement_statements", language)
