"""Reading JSON documents from outside: exact numbers, bounds on everything, errors that say where.

Owns: decoding with the offending JSON path, bounds on size, depth and numbers, canonical JSON and its hash.
Must not know: what a tariff or a CDR means. JSON numbers become Decimal directly; no float is ever made.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from clearing.errors import MalformedDocumentError

T = TypeVar("T")

MAX_DOCUMENT_BYTES: Final = 16 * 2**20  # a CDR with signed meter data is far below one mebibyte
MAX_DEPTH: Final = 64  # the deepest OCPI object nests nine levels
MAX_DIGITS: Final = 40
MAX_MAGNITUDE: Final = 20  # the highest power of ten a number may reach
MAX_DECIMALS: Final = 30
MAX_PLAIN: Final = 20  # characters of a number that needs no counting of its digits
MAX_TEXT: Final = 65_536  # characters of one string: signed meter data with its curve is far below

# What OCPI's string and CiString leave out ("only printable"): controls, line and paragraph separators, half
# characters. A no-break space is printable.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# What a meter signed is kept as it was signed: an OCMF record may break its lines (OCPI mod_cdrs,
# SignedValue).
_SIGNED_TEXT: Final = re.compile(r"\$\.signed_data\.signed_values\[\d+\]\.(?:plain_data|signed_data)")
_LINE_BREAKS: Final = str.maketrans("", "", "\t\n\r")
# What is not printable, in the bytes of a UTF-8 document, where controls inside a string are escaped, save
# C1 and DEL.
_MAYBE_UNPRINTABLE: Final = re.compile(
    rb"\\(?:[bfnrt]|u00[0189]|u007[fF]|u202[89]|u[dD][89a-fA-F])|\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]"
)
_AT_PATH: Final = re.compile(r"^(?P<problem>.*?) - at `(?P<path>\$[^`]*)`$", re.DOTALL)


def decode(decoder: "msgspec.json.Decoder[T]", raw: bytes, *, document: str) -> T:
    """Decode `raw` with a typed decoder. Raises MalformedDocumentError with the JSON path of a fault."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MalformedDocumentError(
            document=document, path="$", problem=f"is {len(raw)} bytes; at most {MAX_DOCUMENT_BYTES} are read"
        )
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        _fail(error, document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedDocumentError(document=document, path="$", problem=f"is not JSON: {error}") from None
    except RecursionError:
        raise MalformedDocumentError(
            document=document, path="$", problem="is nested too deeply; expected an OCPI object"
        ) from None


def _fail(error: msgspec.ValidationError, document: str) -> NoReturn:
    found = _AT_PATH.match(str(error))
    path, problem = (found["path"], found["problem"]) if found else ("$", str(error))
    raise MalformedDocumentError(document=document, path=path, problem=problem.replace("`", "'")) from None


def is_plain(value: Decimal) -> bool:
    """Whether `value` is so short that it needs no further check: a quick first look for hot paths."""
    if len(str(value)) > MAX_PLAIN or not value.is_finite():
        return False
    return -MAX_DECIMALS < value.adjusted() < MAX_MAGNITUDE


def check_number(value: Decimal, *, document: str, path: str) -> Decimal:
    """`value` when it is a finite number within the bounds, else MalformedDocumentError at `path`.

    The bounds keep every product of two inputs exact: up to 40 digits, below 10**20, at most 30 decimals.
    """
    if not value.is_finite():
        raise MalformedDocumentError(document=document, path=path, problem=f"expected a number, got {value}")
    _, digits, exponent = value.as_tuple()
    if value and (
        len(digits) > MAX_DIGITS or value.adjusted() > MAX_MAGNITUDE or int(exponent) < -MAX_DECIMALS
    ):
        raise MalformedDocumentError(
            document=document,
            path=path,
            problem=(
                f"expected a number of at most {MAX_DIGITS} digits, {MAX_DECIMALS} of them decimals,"
                f" below 1e{MAX_MAGNITUDE}; got one of {len(digits)} digits with exponent {exponent}"
            ),
        )
    return value


def load(raw: bytes, *, document: str) -> Mapping[str, Any]:
    """Decode a JSON object to dicts, lists, strings and Decimals; reject NaN, duplicate names and depth."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MalformedDocumentError(
            document=document, path="$", problem=f"is {len(raw)} bytes; at most {MAX_DOCUMENT_BYTES} are read"
        )

    try:
        tree = _tree_decoder(document).decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))
    except RecursionError:
        raise MalformedDocumentError(
            document=document, path="$", problem="is nested too deeply; expected an OCPI object"
        ) from None
    except (ValueError, InvalidOperation) as error:
        raise MalformedDocumentError(document=document, path="$", problem=f"is not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise MalformedDocumentError(document=document, path="$", problem="expected an object")
    return tree


@lru_cache(maxsize=64)
def _tree_decoder(document: str) -> json.JSONDecoder:
    """A decoder whose errors name the document; made once for each name."""

    def reject_constant(text: str) -> NoReturn:
        raise MalformedDocumentError(document=document, path="$", problem=f"{text} is not a JSON number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise MalformedDocumentError(
                document=document, path="$", problem=f"has {twice!r} twice in one object"
            )
        return members

    return json.JSONDecoder(
        parse_float=Decimal,
        parse_int=Decimal,
        parse_constant=reject_constant,
        object_pairs_hook=unique,
    )


def check_text(value: Any, *, document: str, path: str = "$", depth: int = 0) -> None:
    """Check every string and name of a loaded tree: printable, at most `MAX_TEXT` characters.

    Signed meter data may hold tabs and line breaks besides.
    Raises MalformedDocumentError at the first that is not. Source: OCPI types, string and CiString.
    """
    if depth > MAX_DEPTH:
        raise MalformedDocumentError(document=document, path=path, problem="is nested too deeply")
    if isinstance(value, str):
        _check_one_text(value, document=document, path=path)
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_one_text(name, document=document, path=path)
            check_text(member, document=document, path=f"{path}.{name}", depth=depth + 1)
    elif isinstance(value, list):
        for place, member in enumerate(value):
            check_text(member, document=document, path=f"{path}[{place}]", depth=depth + 1)


def check_raw_text(raw: bytes, *, document: str) -> None:
    """As `check_text`, of a document's UTF-8 bytes; its tree is read only where one may be at fault."""
    if _MAYBE_UNPRINTABLE.search(raw) is not None or len(raw) > MAX_TEXT:
        check_text(load(raw, document=document), document=document)


def _check_one_text(value: str, *, document: str, path: str) -> None:
    if len(value) > MAX_TEXT:
        raise MalformedDocumentError(
            document=document, path=path, problem=f"expected text of at most {MAX_TEXT} characters"
        )
    found = _UNPRINTABLE.search(value)
    if found is not None and _SIGNED_TEXT.fullmatch(path):
        found = _UNPRINTABLE.search(value.translate(_LINE_BREAKS))
    if found is not None:
        raise MalformedDocumentError(
            document=document,
            path=path,
            problem=f"expected printable characters only, got U+{ord(found.group()):04X}",
        )


def canonical(tree: Mapping[str, Any], *, document: str) -> bytes:
    """Canonical JSON of a loaded tree: sorted names, no spaces, UTF-8, plain numbers without idle zeros.

    Two texts of one document (1.50 or 1.5, names in any order) have one canonical form and so one hash.
    """
    return _ENCODER.encode(_plain(tree, document=document, path="$", depth=0))


def fingerprint(content: bytes) -> str:
    """The sha256 of `content`, lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


_ENCODER: Final = msgspec.json.Encoder(decimal_format="number", order="sorted")


def _plain(value: Any, *, document: str, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise MalformedDocumentError(document=document, path=path, problem="is nested too deeply")
    if isinstance(value, dict):
        return {
            name: _plain(member, document=document, path=f"{path}.{name}", depth=depth + 1)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [
            _plain(member, document=document, path=f"{path}[{place}]", depth=depth + 1)
            for place, member in enumerate(value)
        ]
    if isinstance(value, Decimal):
        return plain_number(check_number(value, document=document, path=path))
    return value


def plain_number(value: Decimal) -> Decimal:
    """The same number written without exponent and without idle zeros: 1.50 is 1.5, 1E+2 is 100, -0 is 0."""
    if not value:
        return Decimal(0)
    text = format(value, "f")
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)
