"""The labels of printed documents by language.

Owns: which texts they are. Must not know: what a document holds or looks like.
"""

from collections.abc import Mapping

from clearing.language import Language, texts


def labels(language: Language) -> Mapping[str, str]:
    """Every label in one language, by its key."""
    return texts("clearing.documents", language)
