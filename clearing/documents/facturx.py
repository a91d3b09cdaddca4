"""Factur-X: the metadata that declare the invoice attached to a PDF/A-3.

Owns: the XMP metadata of Factur-X and the incremental update that puts them into a finished file. Must not
know: how the page was set, what the invoice says.

A PDF may be changed by appending a new version of an object, a cross-reference section for it and a trailer
that points to the one before (ISO 32000-1, 7.5.6); PDF/A-3 allows it. The page's own bytes stay as they were
set. Source: Factur-X 1.07 / ZUGFeRD 2.3, technical appendix: XMP extension schema.
"""

import re
from dataclasses import dataclass
from typing import Final

from clearing.errors import ClearingInvariantViolation

ATTACHMENT: Final = "factur-x.xml"
_NAMESPACE: Final = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
_PROPERTIES: Final = (
    ("DocumentFileName", ATTACHMENT, "name of the embedded XML invoice file"),
    ("DocumentType", "INVOICE", "INVOICE"),
    ("Version", "1.0", "version of the standard of the embedded XML"),
    ("ConformanceLevel", "EN 16931", "conformance level of the embedded XML"),
)
_TAIL: Final = re.compile(
    rb"trailer\s*<<(?P<trailer>.*?)>>\s*startxref\s+(?P<at>\d+)\s+%%EOF\s*\Z", re.DOTALL
)
_METADATA: Final = re.compile(
    rb"(?P<id>\d+) 0 obj\s*<<(?P<entries>[^>]*/Type\s*/Metadata[^>]*)>>\s*stream\r?\n"
    rb"(?P<xmp>.*?)\r?\nendstream",
    re.DOTALL,
)
_LENGTH: Final = re.compile(rb"/Length \d+")
_SCHEMAS: Final = b"<pdfaExtension:schemas><rdf:Bag>"
_END: Final = b"</rdf:RDF>"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    number: int
    entries: bytes
    xmp: bytes


def declare(pdf: bytes) -> bytes:
    """The same PDF/A-3 whose metadata name its attachment as a Factur-X invoice of profile EN 16931.

    Raises ClearingInvariantViolation for a file without the parts that our own typesetter writes.
    """
    tail = _TAIL.search(pdf)
    metadata = _metadata(pdf)
    if tail is None or metadata is None or _SCHEMAS not in metadata.xmp or _END not in metadata.xmp:
        raise ClearingInvariantViolation(
            "the PDF is not laid out as our typesetter writes it; no metadata was added"
        )
    xmp = metadata.xmp.replace(_SCHEMAS, _SCHEMAS + _schema(), 1).replace(_END, _values() + _END, 1)
    entries = _LENGTH.sub(b"/Length %d" % len(xmp), metadata.entries)
    start = len(pdf) + 1
    renewed = b"%d 0 obj\n<<%s>>\nstream\n%s\nendstream\nendobj\n" % (metadata.number, entries, xmp)
    section = b"xref\n%d 1\n%010d 00000 n\r\n" % (metadata.number, start)
    trailer = b"trailer\n<<%s/Prev %d>>\n" % (tail["trailer"], int(tail["at"]))
    end = b"startxref\n%d\n%%%%EOF\n" % (start + len(renewed))
    return pdf + b"\n" + renewed + section + trailer + end


def _metadata(pdf: bytes) -> _Metadata | None:
    """The document's own metadata: the last of its kind in the file."""
    every = list(_METADATA.finditer(pdf))
    if not every:
        return None
    found = every[-1]
    return _Metadata(number=int(found["id"]), entries=found["entries"], xmp=found["xmp"])


def _schema() -> bytes:
    """The description of the properties that PDF/A demands of every schema that is not its own."""
    properties = "".join(
        '<rdf:li rdf:parseType="Resource">'
        f"<pdfaProperty:name>{name}</pdfaProperty:name>"
        "<pdfaProperty:valueType>Text</pdfaProperty:valueType>"
        "<pdfaProperty:category>external</pdfaProperty:category>"
        f"<pdfaProperty:description>{about}</pdfaProperty:description></rdf:li>"
        for name, _, about in _PROPERTIES
    )
    return (
        '<rdf:li rdf:parseType="Resource">'
        "<pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema>"
        f"<pdfaSchema:namespaceURI>{_NAMESPACE}</pdfaSchema:namespaceURI>"
        "<pdfaSchema:prefix>fx</pdfaSchema:prefix>"
        f"<pdfaSchema:property><rdf:Seq>{properties}</rdf:Seq></pdfaSchema:property></rdf:li>"
    ).encode()


def _values() -> bytes:
    values = "".join(f"<fx:{name}>{value}</fx:{name}>" for name, value, _ in _PROPERTIES)
    return f'<rdf:Description rdf:about="" xmlns:fx="{_NAMESPACE}">{values}</rdf:Description>'.encode()
