"""An element tree as the bytes of an XML document. Owns: prefixes, encoding. Must not know: invoices."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET  # only written here, never read: no foreign XML is parsed


def serialize(root: ET.Element, prefixes: Mapping[str, str]) -> bytes:
    """UTF-8 with declaration; `prefixes` are namespaces by prefix, "" is the default one."""
    for prefix, space in prefixes.items():
        ET.register_namespace(prefix, space)
    written: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return written
