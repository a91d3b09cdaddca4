"""Signed meter data as the file of the S.A.F.E. transparency software, written and read.

Owns: the elements and attributes of that file. Must not know: what a record says, who asks for the file.
Source: SAFE-eV transparency software, values.xsd: values, value, publicKey, signedData.
"""

import base64
import io
import re
from collections.abc import Sequence
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from clearing.errors import UnreadableMessageError, UnreadableMeterFileError
from clearing.iso20022.safe_xml import children, subtrees, text
from clearing.meter_data.findings import MeterCode, MeterFinding
from clearing.meter_data.ocmf import MAX_CHARACTERS, OcmfRecord
from clearing.meter_data.signed_data import SignedMeterData, from_texts
from clearing.meter_data.transaction import BEGIN, ENDS

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_MAX_TEXT: Final = 6 * MAX_CHARACTERS  # a character has up to 4 bytes, and base64 adds a third
_CHANGED_BY_XML: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def transparency_xml(records: Sequence[OcmfRecord], *, public_key: bytes | None) -> bytes:
    """The records as a file that the transparency software reads, each byte for byte as signed.

    `public_key` is SubjectPublicKeyInfo in DER, None to leave the key to the reader. A record whose
    characters XML would change is written in base64.
    """
    root = Element("values")
    for record in records:
        value = SubElement(root, "value", transactionId=str(records[0].page), context=_context(record))
        if public_key is not None:
            SubElement(value, "publicKey", encoding="hex").text = public_key.hex()
        plain = _CHANGED_BY_XML.search(record.text) is None
        signed = SubElement(value, "signedData", format="OCMF", encoding="plain" if plain else "base64")
        signed.text = record.text if plain else base64.b64encode(record.text.encode()).decode()
    body: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body + b"\n"


def read_transparency_xml(raw: bytes) -> SignedMeterData:
    """The signed meter data of such a file. Raises UnreadableMeterFileError: no such XML, or too large."""
    texts, keys, methods = [], [], []
    for value in _values(raw):
        signed = text(value, "signedData")
        if signed is None:
            continue
        texts.append(signed)
        methods.append(_format(value))
        key = text(value, "publicKey")
        if key is not None:
            keys.append("".join(key.split()))
    if len(set(keys)) > 1:
        problem = MeterFinding(code=MeterCode.KEY_DIFFERS, text="the values of the file have different keys")
        return from_texts(texts, problem=problem)
    found = from_texts(texts, method=next(filter(None, methods), ""), claimed_key=keys[0] if keys else None)
    if not texts:
        problem = MeterFinding(code=MeterCode.MALFORMED, text="the file has no signedData")
        return from_texts(texts, problem=problem)
    return found


def _values(raw: bytes) -> list[Element]:
    found: list[Element] = []
    is_safe_file = False
    try:
        for _, values in subtrees(
            io.BytesIO(raw), names=("values",), max_bytes=MAX_FILE_BYTES, max_text=_MAX_TEXT
        ):
            is_safe_file = True
            found += children(values, "value")
    except UnreadableMessageError as error:
        raise UnreadableMeterFileError(error.path, error.detail) from None
    if not is_safe_file:
        raise UnreadableMeterFileError("/", "has no element values: it is XML of another kind")
    return found


def _context(record: OcmfRecord) -> str:
    reasons = {reading.reason for reading in record.readings}
    if reasons & ENDS:
        return "Transaction.End"
    return "Transaction.Begin" if BEGIN in reasons else "Sample.Clock"


def _format(value: Element) -> str:
    return next((one.get("format") or "" for one in value if one.tag.endswith("signedData")), "")
