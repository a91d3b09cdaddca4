"""The kind of a bank message, recognized by its first element alone.

Owns: this recognition. Must not know: what a message contains. A file's name is ignored.
"""

import re
from typing import IO, Final
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from clearing.errors import UnreadableMessageError
from clearing.iso20022.safe_xml import namespace

KINDS: Final = ("pain.002", "camt.052", "camt.053", "camt.054")
_NAMESPACE: Final = re.compile(
    r"urn:iso:std:iso:20022:tech:xsd:((?:pain|camt)\.[0-9]{3})\.[0-9]{3}\.[0-9]{2}"
)


def kind_of(stream: IO[bytes]) -> str:
    """One of `KINDS`.

    Raises UnreadableMessageError for anything else: no XML, a document type of its own, another message.
    """
    try:
        for _, element in iterparse(stream, events=("start",), forbid_dtd=True):
            found_in = namespace(element.tag)
            break
        else:
            raise UnreadableMessageError("/", "has no element")
    except DefusedXmlException as error:
        raise UnreadableMessageError("/", f"has a document type or entity of its own: {error}") from None
    except (ParseError, UnicodeError, ValueError, LookupError) as error:
        raise UnreadableMessageError("/", f"is not well-formed XML: {error}") from None
    found = _NAMESPACE.fullmatch(found_in)
    if found is None or found[1] not in KINDS:
        raise UnreadableMessageError(
            "/Document", f"is of {found_in[:80] or 'no namespace'!r}; expected {', '.join(KINDS)}"
        )
    return found[1]
