"""Foreign XML read safely: no document type, no entities, bounded in bytes, depth, text and elements.

Owns: the bounds and the traversal. Must not know: what a message means. A file of any size is read in the
memory of one subtree.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from clearing.errors import UnreadableMessageError

MAX_BYTES: Final = 512 * 1024 * 1024
MAX_DEPTH: Final = 40
MAX_TEXT: Final = 10_000
MAX_CHILDREN: Final = 200_000  # elements within one yielded subtree
_CHUNK: Final = 65_536


@dataclass(slots=True)
class _Bounded:
    """A stream that ends with an error once more than `limit` bytes were read."""

    stream: IO[bytes]
    limit: int
    bytes_read: int = 0

    def read(self, size: int = _CHUNK) -> bytes:
        chunk = self.stream.read(min(size, _CHUNK) if size >= 0 else _CHUNK)
        self.bytes_read += len(chunk)
        if self.bytes_read > self.limit:
            raise UnreadableMessageError("/", f"the file is larger than {self.limit} bytes")
        return chunk


def subtrees(
    stream: IO[bytes], *, names: Iterable[str], max_bytes: int = MAX_BYTES, max_text: int = MAX_TEXT
) -> Iterator[tuple[str, Element]]:
    """Each finished element whose local name is in `names`, in document order, with its namespace.

    Elements are dropped from memory after they were yielded. A wanted element within a wanted one is not
    yielded on its own. Raises UnreadableMessageError for anything that is no well-formed XML within the
    bounds, or has a document type or entity of its own (XXE, entity expansion).
    """
    wanted = frozenset(names)
    path: list[Element] = []
    inside: int | None = None
    count = 0
    try:
        events = iterparse(_Bounded(stream, max_bytes), events=("start", "end"), forbid_dtd=True)
        for event, element in events:
            if event == "start":
                path.append(element)
                _check_depth(path)
                if inside is None and local(element.tag) in wanted:
                    inside = len(path)
                count = count + 1 if inside is not None else 0
                if count > MAX_CHILDREN:
                    raise UnreadableMessageError(
                        _where(path), f"has more than {MAX_CHILDREN} elements within"
                    )
                continue
            if element.text is not None and len(element.text) > max_text:
                raise UnreadableMessageError(_where(path), f"has more than {max_text} characters")
            if inside == len(path):
                yield namespace(element.tag), element
                inside, count = None, 0
            path.pop()
            if inside is None:
                element.clear()
                if path:
                    path[-1].remove(element)
    except DefusedXmlException as error:
        raise UnreadableMessageError("/", f"has a document type or entity of its own: {error}") from None
    except (ParseError, UnicodeError, ValueError, LookupError) as error:
        raise UnreadableMessageError("/", f"is not well-formed XML: {error}") from None


def _check_depth(path: list[Element]) -> None:
    if len(path) > MAX_DEPTH:
        raise UnreadableMessageError(_where(path[:3]), f"is nested deeper than {MAX_DEPTH} elements")


def _where(path: list[Element]) -> str:
    return "/" + "/".join(local(element.tag) for element in path)


def local(tag: str) -> str:
    """A tag without its namespace."""
    return tag.rpartition("}")[2]


def namespace(tag: str) -> str:
    """A tag's namespace, or an empty text."""
    return tag[1:].partition("}")[0] if tag.startswith("{") else ""


def child(element: Element, path: str) -> Element | None:
    """The first element at a path of local names such as `NtryDtls/TxDtls`."""
    found: Element | None = element
    for name in path.split("/"):
        if found is None:
            return None
        found = next((one for one in found if local(one.tag) == name), None)
    return found


def children(element: Element | None, name: str) -> list[Element]:
    """The direct children of that local name."""
    return [] if element is None else [one for one in element if local(one.tag) == name]


def text(element: Element | None, path: str) -> str | None:
    """The trimmed text at a path; None where there is none."""
    found = None if element is None else child(element, path)
    if found is None or found.text is None:
        return None
    return found.text.strip() or None
